-- Tries all commands of the other scripts, on a name that no key has. Returns the name of the first command that is not
-- permitted, `channel` if a channel is not permitted, or the name in a list if the server does not know the command.
-- KEYS: a name. ARGV: the channels
local key = KEYS[1]
for _, command in ipairs({
  {'DEL', key}, {'SET', key, '1', 'PX', '1000'}, {'INCR', key}, {'GET', key}, {'SETRANGE', key, '0', '1'},
  {'PTTL', key}, {'PEXPIRE', key, '1000'}, {'PEXPIREAT', key, '1'},
  {'HSET', key, 'f', '1'}, {'HGET', key, 'f'}, {'HMGET', key, 'f'}, {'HEXISTS', key, 'f'}, {'HKEYS', key},
  {'HDEL', key, 'f'}, {'EXISTS', key},
  {'ZADD', key, '1', 'm'}, {'ZSCORE', key, 'm'}, {'ZCARD', key}, {'ZCOUNT', key, '0', '0'}, {'ZRANGE', key, '0', '0'},
  {'ZRANGEBYSCORE', key, '0', '0'}, {'ZREM', key, 'm'},
  {'TIME'}, {'PUBLISH', ARGV[1], ''}, {'PUBLISH', ARGV[2], ''},
}) do
  local answer = redis.pcall(unpack(command))
  local problem = type(answer) == 'table' and answer.err
  if problem and (string.find(problem, 'NOPERM', 1, true) or string.find(problem, 'ACL', 1, true)
    or string.find(problem, "can't run", 1, true)) then
    return string.find(problem, 'channel', 1, true) and 'channel' or command[1]
  end
  if problem and string.find(problem, 'nknown', 1, true) then
    return {command[1]}
  end
  if problem and string.find(problem, 'READONLY', 1, true) then
    return answer
  end
end
redis.pcall('DEL', key)
return 1
