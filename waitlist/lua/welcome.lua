-- welcome: put people into a line who never stood in it, as SQL said of them.
-- KEYS[1] line        sorted set  member -> rank
-- KEYS[2] epoch       string      spelling and epoch: which filling of the line this is
-- KEYS[3] versions    hash        member -> version last applied, for two minutes
-- ARGV    epoch, unix time before SQL was read, then pairs: rank, member; at most a thousand
-- returns how many were placed; -1 for another epoch, -2 if SQL was read too long ago
--
-- Being new is the oldest news there can be of a person. So whoever has a version was changed
-- since, and this leaves no version: what could come after it is only the same or newer.
local MOST_AGE = 60
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
if tonumber(redis.call('TIME')[1]) - tonumber(ARGV[2]) > MOST_AGE then return -2 end
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('ZADD', KEYS[1], unpack(ARGV, 3))
  return (#ARGV - 2) / 2
end

local members = {}
for i = 4, #ARGV, 2 do members[#members + 1] = ARGV[i] end
local known = redis.call('HMGET', KEYS[3], unpack(members))
local placed = {}
for n, member in ipairs(members) do
  if not known[n] then
    placed[#placed + 1], placed[#placed + 2] = ARGV[2 * n + 1], member
  end
end
if #placed > 0 then redis.call('ZADD', KEYS[1], unpack(placed)) end
return #placed / 2
