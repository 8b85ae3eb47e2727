-- KEYS: holders, queue, places, ended, nodes. ARGV: channel, slot text[, tokens]
-- Without tokens, returns the tokens that hold the slot. With tokens, ends their holds; returns 1 if it must run again.
if not ARGV[3] then
  return redis.call('ZRANGEBYSCORE', holders, string.format('(%.0f', now), '+inf')
end
for i = 3, #ARGV do
  redis.call('ZREM', holders, ARGV[i])
  redis.call('HDEL', places, ARGV[i])
end
hand_over(ARGV[1], ARGV[2])
return more and 1 or 0
