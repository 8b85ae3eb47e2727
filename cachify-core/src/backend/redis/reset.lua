-- KEYS: entry, lease
-- ARGV: channel, message, channel of resets, key[, offset of the time of storing: keeps the entry, stale from now on]
-- Returns 1, or 2 if the reset could not be published.
local waiting = fields(KEYS[2])
-- The deletion comes first: after one, a full server lets the script write, and a failed message must not prevent it.
redis.call('DEL', KEYS[2])

-- Returns the number in the 8 bytes from `at`, little-endian, without the highest bit, which is a mark.
local function number(bytes, at)
  local sum = string.byte(bytes, at + 7) % 128
  for i = at + 6, at, -1 do
    sum = sum * 256 + string.byte(bytes, i)
  end
  return sum
end

-- Makes the entry stale; returns whether there is one. The time to live follows the time of storing at `at`. The mark
-- tells readers whose view of this clock is late. An entry that is stale already keeps its time.
local function expire(at)
  local entry = redis.pcall('GET', KEYS[1])
  if type(entry) ~= 'string' or #entry < at + 16 then
    return false
  end
  local ttl = string.sub(entry, at + 9, at + 16)
  if string.byte(ttl, 8) >= 128 and ttl ~= string.rep('\255', 8) then
    return true
  end
  local time = redis.call('TIME')
  local now = math.min(time[1] * 1000000 + time[2], number(entry, at + 1) + number(ttl, 1) * 1000)
  local bytes = {}
  for i = 1, 8 do
    bytes[i] = now % 256 + (i == 8 and 128 or 0)
    now = math.floor(now / 256)
  end
  return type(redis.pcall('SETRANGE', KEYS[1], at + 8, string.char(unpack(bytes)))) == 'number'
end

if not ARGV[5] or not expire(tonumber(ARGV[5])) then
  redis.call('DEL', KEYS[1])
end
tell(waiting, ARGV[1], ARGV[2])
return void(ARGV[3], ARGV[4]) and 1 or 2
