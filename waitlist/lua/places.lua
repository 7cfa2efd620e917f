-- places: where people stand, and how long the line is.
-- KEYS[1] line   sorted set  member -> rank
-- KEYS[2] epoch  string      spelling and epoch: which filling of the line this is
-- ARGV    epoch, members
-- returns the length, then for each the number of people ahead (-1: not in the line); nil for
--         another epoch
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return nil end
local found = { redis.call('ZCARD', KEYS[1]) }
for i = 2, #ARGV do
  found[i] = redis.call('ZRANK', KEYS[1], ARGV[i]) or -1
end
return found
