-- KEYS: lease. ARGV: token, ttl in ms
if redis.pcall('HEXISTS', KEYS[1], 't:' .. ARGV[1]) ~= 1 then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
