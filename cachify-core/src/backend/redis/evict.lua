-- KEYS: holders, queue, places, ended, nodes. ARGV: channel, what[, tokens]
-- Without tokens, answers those that hold the slot. With them, takes it from these, and answers 1 to be run again.
if not ARGV[3] then
  return redis.call('ZRANGEBYSCORE', holders, string.format('(%.0f', now), '+inf')
end
for i = 3, #ARGV do
  redis.call('ZREM', holders, ARGV[i])
  redis.call('HDEL', places, ARGV[i])
end
hand_over(ARGV[1], ARGV[2])
return more and 1 or 0
