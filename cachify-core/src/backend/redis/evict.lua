-- KEYS: holders, queue, places, ended. ARGV: channel, what, not after. Answers {whether somebody held it, 0, now}.
if in_vain(ARGV[3]) then
  return {3, 0, now}
end
expire()
local held = redis.call('ZRANGE', holders, 0, -1)
for _, token in ipairs(held) do
  redis.call('HDEL', places, token)
end
redis.call('DEL', holders)
hand_over(ARGV[1], ARGV[2])
return {#held > 0 and 1 or 0, 0, now}
