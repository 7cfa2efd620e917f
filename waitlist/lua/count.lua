-- count: note that each of these knocked once more in this minute.
-- KEYS[1] knocks  hash  who knocked -> how often, forgotten when the time is over
-- ARGV    seconds until then, then who knocked, in turn
-- returns how often each has knocked by now, in the same order
local counts = {}
for i = 2, #ARGV do
  counts[i - 1] = redis.call('HINCRBY', KEYS[1], ARGV[i], 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return counts
