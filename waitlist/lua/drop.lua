-- drop: take away a line whose epoch SQL has given up, before another is filled beside it.
-- KEYS[1] line   sorted set  member -> rank
-- KEYS[2] epoch  string      spelling and epoch: which filling of the line this is
-- ARGV    epoch that was given up
-- returns 1, or 0 if the line is of another epoch already
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
