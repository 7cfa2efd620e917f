-- place: where somebody stands, and how long the line is.
-- KEYS[1] line   sorted set  member -> rank
-- KEYS[2] epoch  string      spelling and epoch: which filling of the line this is
-- ARGV    epoch, member
-- returns the number of people ahead (-1: not in the line) and the length; nil for another epoch
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return nil end
local ahead = redis.call('ZRANK', KEYS[1], ARGV[2])
return { ahead or -1, redis.call('ZCARD', KEYS[1]) }
