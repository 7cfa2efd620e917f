-- at: who stands at these places of a line.
-- KEYS[1] line   sorted set  member -> rank
-- KEYS[2] epoch  string      spelling and epoch: which filling of the line this is
-- ARGV    epoch, numbers of people ahead
-- returns the member at each place ('': nobody); nil for another epoch
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return nil end
local found = {}
for i = 2, #ARGV do
  found[i - 1] = redis.call('ZRANGE', KEYS[1], ARGV[i], ARGV[i])[1] or ''
end
return found
