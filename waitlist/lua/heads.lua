-- heads: the people at the front of a line.
-- KEYS[1] line   sorted set  member -> rank
-- KEYS[2] epoch  string      spelling and epoch: which filling of the line this is
-- ARGV    epoch, how many, run id of the server that is meant
-- returns members and ranks in turn, front first; nil for another epoch or another server
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return nil end
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[3], 1, true) then return nil end
return redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
