-- apply: bring members of a line to what SQL says of them, never back to something older.
-- KEYS[1] line        sorted set  entry id -> rank
-- KEYS[2] epoch       string      which filling of the line this is
-- KEYS[3] versions    hash        entry id -> version last applied, for two minutes
-- KEYS[4] applied     sorted set  entry id -> unix time it was applied
-- ARGV    epoch, unix time before SQL was read, then triples: entry id, version, rank or ''
-- returns how many were newer and applied; -1 for another epoch, -2 if SQL was read too long ago
local MOST_AGE, KEPT = 60, 120
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
local now = tonumber(redis.call('TIME')[1])
if now - tonumber(ARGV[2]) > MOST_AGE then return -2 end
local applied = 0
for i = 3, #ARGV, 3 do
  local member, version, rank = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local last = redis.call('HGET', KEYS[3], member)
  if not last or tonumber(last) <= tonumber(version) then
    if rank == '' then
      redis.call('ZREM', KEYS[1], member)
    else
      redis.call('ZADD', KEYS[1], rank, member)
    end
    redis.call('HSET', KEYS[3], member, version)
    redis.call('ZADD', KEYS[4], now, member)
    applied = applied + 1
  end
end
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - KEPT, 'LIMIT', 0, 2000)
for _, member in ipairs(old) do
  redis.call('HDEL', KEYS[3], member)
  redis.call('ZREM', KEYS[4], member)
end
return applied
