-- holders: token -> deadline. queue: token -> place.
-- places: token -> 'until max', for waiters, and for holders that did not collect their hold yet.
-- ended: token -> time until which its late request is refused. nodes: node -> time until which its waiters are alive.
local holders, queue, places, ended, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- A script takes a limited number of steps. If more are due, the caller runs it again.
local more, steps = false, 100

local function expire()
  local over = redis.call('ZRANGEBYSCORE', holders, '-inf', now, 'LIMIT', 0, steps)
  if over[1] then
    redis.call('ZREM', holders, unpack(over))
    redis.call('HDEL', places, unpack(over))
    more = #over == steps
  end
end

-- Keeps the set of holders until the last deadline.
local function keep()
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', holders, math.ceil(last[2] / 1000) + 1)
  end
end

local function node_of(token)
  return string.match(token, '@(.*)$')
end

-- Sends a message to the node of a waiter; returns whether the node is subscribed.
local function hears(token, channel, deadline, what)
  local message = string.format('%.0f %s %s', deadline, token, what)
  local heard = redis.pcall('PUBLISH', channel .. node_of(token), message)
  return type(heard) == 'number' and heard > 0
end

-- Gives free places to the waiters, in order, to be collected within a second. Skips a waiter if its time is over, or
-- if its node is not subscribed or has not asked for too long. `asking`, which accepts `room` holders, needs no
-- message. Returns whether `asking` got a place.
local function hand_over(channel, what, asking, room)
  local given = false
  for _ = 1, steps do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then
      redis.call('DEL', nodes)
      if redis.call('EXISTS', holders) == 0 then
        redis.call('DEL', places)
      end
      return given
    end
    local till, max = string.match(redis.call('HGET', places, head) or '', '^(%d+) (%d+)$')
    local asks = head == asking
    local waits = till and (asks or (tonumber(till) >= now
      and tonumber(redis.call('HGET', nodes, node_of(head)) or 0) >= now))
    local held = redis.call('ZCARD', holders)
    if waits and held >= tonumber(max) then
      -- `asking` would have room, so the waiter in its way must be alive. A message with deadline 0 makes the waiter's
      -- node remove it if it is gone.
      if asks or not room or held >= room or hears(head, channel, 0, what) then
        return given
      end
      waits = false
    end
    redis.call('ZREM', queue, head)
    local deadline = now + 1000000
    if waits and (asks or hears(head, channel, deadline, what)) then
      redis.call('ZADD', holders, deadline, head)
      keep()
      given = given or asks
    else
      redis.call('HDEL', places, head)
    end
  end
  more = true
  return given
end
