-- KEYS: holders, queue
return {
  now,
  redis.call('ZCARD', KEYS[2]),
  redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf', 'WITHSCORES'),
}
