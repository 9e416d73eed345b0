-- The requests of a wrk run, as the Node SDK sends them: `wrk -s requests.lua URL -- KIND …`.
--
--   auth FILE COUNT [RUN RUNS]
--                      checks sessions of FILE at random: records of 64 bytes, id and skey, and a
--                      line feed; with COUNT 1 the same one again and again; with RUN and RUNS
--                      none of them twice in all those runs, which are counted from 0
--   pipelined FILE DEPTH
--                      checks the first session of FILE, so many times in one write
--   forward-auth FILE  asks whose the first session of FILE is, as a proxy does
--   login SEED BODY    logs in a new user each time, whose code replaces the CODE of BODY
--
-- `done` prints the outcome as one line of JSON.

local RECORD, HALF = 65, 32
local AUTH = '{"version":1,"componentName":"MA","interface":'
  .. '{"interfaceName":"qcloud.cam.auth","para":{"id":"%s","skey":"%s"}}}'

local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- The contents of a file. Mapped, since millions of Lua strings would take gigabytes.
local function map(path, bytes)
  local ffi = require("ffi")
  ffi.cdef([[
    int open(const char *path, int flags, ...);
    void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset);
  ]])
  local READ, SHARED = 1, 1
  local file = ffi.C.open(path, 0)
  assert(file >= 0, "cannot open " .. path)
  return ffi.cast("const char *", ffi.C.mmap(nil, bytes, READ, SHARED, file, 0))
end

-- Returns a function that gives the next of `count` numbers, at random.
local function drawing(count)
  return function() return math.random(0, count - 1) end
end

-- Returns a function that gives the next of `count` numbers, none of them twice: every thread of
-- every run has a part of them, in the same shuffled order.
local function drawing_once(count, run, runs)
  local THREADS, ODD = 2, 2654435
  local bit = require("bit")
  local bits = math.ceil(math.log(count) / math.log(2))
  local part = math.floor(count / runs / THREADS)
  local at = (run * THREADS + number) * part
  local last = at + part
  return function()
    assert(at < last, "there are too few sessions for this run")
    local shuffled = at
    at = at + 1
    -- Each step can be undone, so no two numbers become the same one.
    repeat
      for _ = 1, 3 do
        shuffled = bit.bxor(shuffled, bit.rshift(shuffled, bits / 2)) * ODD % 2 ^ bits
      end
    until shuffled < count
    return shuffled
  end
end

-- Returns a function that makes the next request, for wrk to call.
local function random_auth(path, count, draw)
  local id, skey = ("I"):rep(HALF), ("S"):rep(HALF)
  local request = wrk.format(nil, nil, nil, AUTH:format(id, skey))
  local id_at, skey_at = request:find(id, 1, true) - 1, request:find(skey, 1, true) - 1
  local ffi = require("ffi")
  local sessions = map(path, RECORD * count)
  local bytes = #request
  local buffer = ffi.new("char[?]", bytes + 1, request) -- a NUL is copied too
  return function()
    local session = sessions + RECORD * draw()
    ffi.copy(buffer + id_at, session, HALF)
    ffi.copy(buffer + skey_at, session + HALF, HALF)
    return ffi.string(buffer, bytes)
  end
end

local function new_logins(seed, body)
  local code = ("C"):rep(28)
  local request = wrk.format(nil, nil, nil, (body:gsub("CODE", code)))
  local at = request:find(code, 1, true)
  local head, tail = request:sub(1, at - 1), request:sub(at + #code)
  local logins = 0
  return function()
    logins = logins + 1
    return ("%so%09d%06d%012d%s"):format(head, seed, number, logins, tail)
  end
end

function init(arguments)
  local kind = arguments[1]
  wrk.method = "POST"
  wrk.headers["Accept"] = "application/json"
  wrk.headers["Content-Type"] = "application/json"
  if kind == "login" then
    request = new_logins(arguments[2], arguments[3])
    return
  end
  if kind == "forward-auth" then
    -- Without a `request` wrk formats this once and sends the same bytes every time.
    local session = io.open(arguments[2]):read("*l")
    wrk.method, wrk.path = "GET", "/v1/forward-auth"
    wrk.headers["Authorization"] = ("Bearer %s.%s"):format(session:sub(1, HALF), session:sub(HALF + 1))
    return
  end
  local path, count = arguments[2], tonumber(arguments[3])
  if kind == "pipelined" then
    local session = io.open(path):read("*l")
    local body = AUTH:format(session:sub(1, HALF), session:sub(HALF + 1))
    local requests = wrk.format(nil, nil, nil, body):rep(count)
    request = function() return requests end
    return
  end
  local run, runs = tonumber(arguments[4]), tonumber(arguments[5])
  if count > 1 then
    math.randomseed(os.time() + number)
    request = random_auth(path, count, run and drawing_once(count, run, runs) or drawing(count))
  else
    local session = io.open(path):read("*l")
    wrk.body = AUTH:format(session:sub(1, HALF), session:sub(HALF + 1))
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(('{"requests":%d,"micros":%d,"bytes":%d,"p99":%d,"errors":%d}\n'):format(
    summary.requests, summary.duration, summary.bytes, latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
