-- KEYS: holders, queue
-- Lua's own conversion would cut the number to 14 digits.
local after = string.format('(%.0f', now)
local first = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {
  redis.call('ZCOUNT', KEYS[1], after, '+inf'),
  redis.call('ZCARD', KEYS[2]),
  first[1] or '',
  first[2] and first[2] - now or 0,
}
