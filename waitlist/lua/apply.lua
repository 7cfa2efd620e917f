-- apply: bring members of a line to what SQL says of them, never back to something older.
-- KEYS[1] line        sorted set  member -> rank
-- KEYS[2] epoch       string      spelling and epoch: which filling of the line this is
-- KEYS[3] versions    hash        member -> version last applied, for two minutes
-- KEYS[4] applied     sorted set  member -> unix time it was applied
-- ARGV    epoch, unix time before SQL was read, and a JSON list of triples, all strings: member,
--         version, rank or ''; no member twice. (Thousands of arguments take as long as the work.)
-- returns how many were newer and applied; -1 for another epoch, -2 if SQL was read too long ago
local MOST_AGE, KEPT, AT_ONCE = 60, 120, 1000
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
local now = tonumber(redis.call('TIME')[1])
if now - tonumber(ARGV[2]) > MOST_AGE then return -2 end

local changes = cjson.decode(ARGV[3])

local function call(command, key, words)
  if #words > 0 then redis.call(command, key, unpack(words)) end
end

local function apply(first, last)
  local members = {}
  for i = first, last, 3 do members[#members + 1] = changes[i] end
  local known = redis.call('HMGET', KEYS[3], unpack(members))
  local placed, gone, versions, times = {}, {}, {}, {}
  for n, member in ipairs(members) do
    local version, rank = changes[first + 3 * n - 2], changes[first + 3 * n - 1]
    if not known[n] or tonumber(known[n]) <= tonumber(version) then
      if rank == '' then
        gone[#gone + 1] = member
      else
        placed[#placed + 1], placed[#placed + 2] = rank, member
      end
      versions[#versions + 1], versions[#versions + 2] = member, version
      times[#times + 1], times[#times + 2] = now, member
    end
  end
  call('ZREM', KEYS[1], gone)
  call('ZADD', KEYS[1], placed)
  call('HSET', KEYS[3], versions)
  call('ZADD', KEYS[4], times)
  return #versions / 2
end

local applied = 0
for first = 1, #changes, 3 * AT_ONCE do
  applied = applied + apply(first, math.min(first + 3 * AT_ONCE, #changes + 1) - 1)
end
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - KEPT, 'LIMIT', 0, 2 * AT_ONCE)
call('HDEL', KEYS[3], old)
call('ZREM', KEYS[4], old)
redis.call('EXPIRE', KEYS[3], KEPT)
redis.call('EXPIRE', KEYS[4], KEPT)
return applied
