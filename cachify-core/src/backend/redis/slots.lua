-- holders: token -> deadline. queue: token -> place. places: token -> 'until max' of those who wait, or were handed a hold and did not
-- claim it yet. ended: token -> until when a late request of it is refused.
local holders, queue, places, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function expire()
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now)) do
    redis.call('ZREM', holders, token)
    redis.call('HDEL', places, token)
  end
end

-- Keeps the holders for as long as the last of them.
local function keep()
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', holders, math.ceil(last[2] / 1000) + 1)
  end
end

-- Gives free places to those who wait, in order, to be claimed within a second. Who does not listen any more, or is past its time, is
-- skipped; `asking` is there although it does not need to be told. Whether `asking` got one.
local function hand_over(asking, channel, what)
  local given = false
  while true do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then
      if redis.call('EXISTS', holders) == 0 then
        redis.call('DEL', places)
      end
      return given
    end
    local till, max = string.match(redis.call('HGET', places, head) or '', '^(%d+) (%d+)$')
    if till and redis.call('ZCARD', holders) >= tonumber(max) then
      return given
    end
    redis.call('ZREM', queue, head)
    local deadline = now + 1000000
    local hears = till and head == asking
    given = given or hears
    if till and not hears and tonumber(till) >= now then
      local heard = redis.pcall(
        'PUBLISH',
        channel .. string.match(head, '@(.*)$'),
        string.format('%.0f %s %s', deadline, head, what)
      )
      hears = type(heard) == 'number' and heard > 0
    end
    if hears then
      redis.call('ZADD', holders, deadline, head)
      keep()
    else
      redis.call('HDEL', places, head)
    end
  end
end
