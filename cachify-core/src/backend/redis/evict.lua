-- KEYS: holders, queue, places, ended. ARGV: channel, what
expire()
local held = redis.call('ZRANGE', holders, 0, -1)
for _, token in ipairs(held) do
  redis.call('HDEL', places, token)
end
redis.call('DEL', holders)
hand_over(ARGV[1], ARGV[2])
return #held > 0 and 1 or 0
