local configuration = require "configuration"

-- What every case of these begins with, on line 1.
local DOCKER, PROCESS = 'cluster { engine = "docker" }\n', 'cluster { engine = "process" }\n'
local WEB = 'service "web" { image = "web:1", ports = { 80 },\n'

-- All errors of the text, without "tidegate.lua:".
local function errors(text)
    local config, why, code = configuration.load(text)
    assert.is_nil(config, "loaded: " .. text)
    assert.equal(-22, code)
    return (why:gsub("tidegate%.lua:", ""))
end

local function check(cases, before, after)
    for _, case in ipairs(cases) do
        assert.equal(case[2], errors((before or "") .. case[1] .. (after or "")), case[1])
    end
end

describe("script_load tells", function()
    after_each(configuration.clean)

    it("all errors of a file at once, each with its line", function()
        local why = errors [[
cluster { engine = "dcoker" }
service "catalog" {
  image = "acme/catalog:1.4",
  resources = {
    memroy = "512m",
    cpus = "half",
  },
  prots = { "8080" },
  route = { listen = ":8080",
            balanse = "round_robin" },
}
service "catalog" { image = "x" }
service "bad name" { image = "x", health_check = { htpp = "/health" } }]]
        assert.equal([[
1: cluster: engine: unknown value "dcoker": did you mean "docker"?
5: service "catalog": resources.memroy: unknown key: did you mean "memory"?
6: service "catalog": resources.cpus: expected a number, got "half"
8: service "catalog": prots: unknown key: did you mean "ports"?
10: service "catalog": route.balanse: unknown key: did you mean "balance"?
12: service "catalog": is already declared at 2
13: service "bad name": bad name: expected letters, digits, "-", "_" and "." after a letter or digit, got "bad name"
13: service "bad name": health_check.htpp: unknown key: did you mean "http"?]], why)
    end)

    it("what is wrong with what guards a route", function()
        local before = 'service "web" { backends = { "10.0.0.1:80" }, route = { listen = ":80", '
        local at = '1: service "web": route.'
        check({
            { "circuit_breaker = { failures_on = { 'conect' } }",
                at .. 'circuit_breaker.failures_on[1]: unknown value "conect": did you mean "connect"?' },
            { "circuit_breaker = { failure_treshold = 5 }",
                at .. 'circuit_breaker.failure_treshold: unknown key: did you mean "failure_threshold"?' },
            { "circuit_breaker = { failure_rate = 50 }",
                at .. "circuit_breaker.failure_rate: must be between 0.01 and 1, got 50" },
            { "circuit_breaker = { window = '5m' }",
                at .. 'circuit_breaker.window: must be between 1 and 30 s, got "5m"' },
            { "circuit_breaker = true",
                at .. "circuit_breaker: expected a table such as { failure_threshold = 5 }, or false, got true" },
            { "queue = 100", at .. "queue: expected a table such as { limit = 100 }, or false, got 100" },
            { "queue = { limit = 0 }", at .. "queue.limit: must be between 1 and 1000000, got 0" },
            { "panic_threshold = 101", at .. "panic_threshold: must be between 0 and 100 percent, got 101" },
            { "slow_start = 'soon'", at .. 'slow_start: expected a duration such as "30s", got "soon"' },
        }, before, " } }")
    end)

    it("what is wrong with names and declarations", function()
        local long = ("x"):rep(64)
        check {
            { 'servcie "x" {}', '1: unknown name "servcie": did you mean "service"?' },
            { "\nos.exit()", '2: unknown name "os": only what the configuration itself defines, and the safe part of '
                .. 'Lua, is known' },
            { "io = require 'x'", '1: unknown name "require": only what the configuration itself defines, and the safe '
                .. 'part of Lua, is known' },
            { "service { image = 'x' }", '1: service: expected a name, as in service "name" { ... }, got a table\n'
                .. '1: service "?": has no table behind its name' },
            { "\nservice 'x'\n", '2: service "x": has no table behind its name' },
            { "service 'x' 'y'", '1: service "x": expected a table, got "y"' },
            { "cluster 'x'", '1: cluster: expected a table, got "x"' },
            { "cluster {}\ncluster {}", "2: cluster: is already declared at 1" },
            { ("service '%s' { image = 'x' }"):format(long), ('1: service "%s": bad name: is longer than 63 bytes')
                :format(long) },
            { "service '' { image = 'x' }", '1: service "": bad name: must not be empty' },
            { "cluster { id = '-x' }", '1: cluster: id: expected letters, digits, "-", "_" and "." after a letter or '
                .. 'digit, got "-x"' },
            { "local x = {\n\n1 +", "3: unexpected symbol near '<eof>': an `end` or a bracket is missing: "
                .. "each function, if, for and while has an `end` of its own" },
            { "\n\nlocal t = nil\nt.x = 1", "4: attempt to index local 't' (a nil value): look first whether it is there (here t = nil)" },
            { "error 'stop'", "1: stop" },
            { "service 'x' { image = 'x' }\nservice 'y' { imge = 'y' }\nerror 'stop'",
                '2: service "y": needs an image, such as image = "acme/catalog:1.4", or backends\n'
                .. '2: service "y": imge: unknown key: did you mean "image"?\n3: stop' },
        }
    end)

    it("wrong types, in the words of what was expected", function()
        check({
            { "stop_timeout = {},", '3: service "web": stop_timeout: expected a duration such as "30s", got a table' },
            { "stop_timeout = '1y',", '3: service "web": stop_timeout: expected a duration such as "30s", got "1y"' },
            { "resources = 5,", '3: service "web": resources: expected a table such as { memory = "512m", cpus = 0.5 }, got 5' },
            { "resources = { memory = '5' },", '3: service "web": resources.memory: expected a size such as "512m", got "5"' },
            { "resources = { cpus = -1 },", '3: service "web": resources.cpus: must be between 0 and 4096, got -1' },
            { "resources = { pids = 1.5 },", '3: service "web": resources.pids: expected a whole number, got 1.5' },
            { "pull = 'sometimes',", '3: service "web": pull: expected one of "missing", "always", "never", got "sometimes"' },
            { "command = './x',", '3: service "web": command: expected a list such as { "./catalog", "--port", "$PORT" }, got "./x"' },
            { "command = { 1 },", '3: service "web": command[1]: expected text, got 1' },
            { "environment = { 'A=1' },", '3: service "web": environment[1]: names of variables are text without =' },
            { "environment = { A = {} },", '3: service "web": environment.A: expected text, a number or a boolean, got a table' },
            { "environment = { A = 'x\\0y' },", '3: service "web": environment.A: must not contain NUL bytes' },
            { "volumes = { 'x' },", '3: service "web": volumes[1]: expected a volume such as "name:/path" or "/host:/path:ro", got "x"' },
            { "restart_policy = 'never',", '3: service "web": restart_policy: expected "no", "always", "unless-stopped", '
                .. '"on-failure" or "on-failure:3", got "never"' },
            { "tags = { 1 },", '3: service "web": tags[1]: expected text, got 1' },
            { "tags = 'x',", '3: service "web": tags: expected a list or a function, got "x"' },
            { "tags = function() return { 7 } end,", '3: service "web": tags(1)[1]: expected text, got 7' },
            { "tags = function() return 7 end,", '3: service "web": tags(1): expected a list such as { "zone:0" }, got 7' },
            { "tags = function(i)\n  return i.x.y end,", "4: attempt to index field 'x' (a nil value): "
                .. 'look first whether it is there (here i = { index = 1, service = "web" })' },
            { "protocol = 'h2x',", '3: service "web": protocol: unknown value "h2x": did you mean "h2c"?' },
            { "protocol = 'h2c', upstream_tls = { verify = false },", '3: service "web": upstream_tls: is for backends that '
                .. 'speak TLS: protocol = "https"' },
            { "protocol = 'h2', send_proxy = 2, upstream_tls = { verify = false },", '3: service "web": send_proxy: connections of '
                .. 'HTTP/2 are shared by clients, so no header can name one: leave it out, or write protocol = "http"' },
            { "protocol = 'h2c', send_proxy = 1,", '3: service "web": send_proxy: connections of HTTP/2 are shared by '
                .. 'clients, so no header can name one: leave it out, or write protocol = "http"' },
            { "health_check = 5,", '3: service "web": health_check: expected a table such as { http = "/health" }, a path, or '
                .. 'false, got 5' },
            { "scale = 3,", '3: service "web": scale: expected a table such as { min = 2, max = 20 }, got 3' },
            { "route = 5,", '3: service "web": route: expected a table such as { listen = ":8080" }, or a list of them, got 5' },
            { "route = { { listen = ':1' },\n 5 },", '4: service "web": route[2]: expected a table such as { listen = ":8080" }, got 5' },
            { "route = { listen = ':1', balance = 5 },", '3: service "web": route.balance: expected a policy such as "round_robin" '
                .. 'or { "round_robin", parameter = ... }, got 5' },
            { "route = { listen = ':1', request = { dataset = 'ds' } },", '3: service "web": route.request.dataset[1]: expected '
                .. '"header:NAME", "cookie:NAME" or "query:NAME", got "ds"' },
            { "route = { listen = ':1', request = { tags = 'path' } },", '3: service "web": route.request.tags[1]: expected '
                .. '"header:NAME", "cookie:NAME" or "query:NAME", got "path"' },
            { "route = { listen = ':1', request = { key = 'cookie:a b' } },", '3: service "web": route.request.key[1]: expected '
                .. '"header:NAME", "cookie:NAME" or "query:NAME", "client", "path" or "dataset", got "cookie:a b"' },
            { "route = { listen = ':1', request = { datset = 'query:d' } },", '3: service "web": route.request.datset: unknown '
                .. 'key: did you mean "dataset"?' },
            { "route = { listen = ':1', request = 5 },", '3: service "web": route.request: expected a table such as '
                .. '{ dataset = "query:ds" }, or a function, got 5' },
            { "route = { listen = ':1', sticky = 'sid' },", '3: service "web": route.sticky: expected a table such as '
                .. '{ cookie = "tidegate", ttl = "1h" }, true or false, got "sid"' },
            { "route = { listen = ':1', sticky = { cookie = 'a b' } },", '3: service "web": route.sticky.cookie: expected the '
                .. 'name of a cookie, got "a b"' },
            { "route = { listen = ':1', balance = { 'consistent_hashing', key = 'user' } },", '3: service "web": '
                .. 'route.balance.key: expected "header:NAME", "cookie:NAME" or "query:NAME", "client", "path" or "dataset", got "user"' },
            { "'stray',", '3: service "web": [1]: has no key: write key = value' },
            { "weight = 0,", '3: service "web": weight: must be between 1 and 1000, got 0' },
            { "environment = setmetatable({}, { __index = error }), user = {},", '3: service "web": user: expected text, got a table' },
            { "user = 'a',\nuser = 'b',", '4: service "web": user: is already given on line 3' },
        }, DOCKER .. WEB, "}")
    end)

    it("health checks and scales that cannot be", function()
        check({
            { "health_check = { http = 'up' },", '3: service "web": health_check.http: a path begins with /, got "up"' },
            { "health_check = { http = '/a b' },", '3: service "web": health_check.http: a path has no blanks and no #, got "/a b"' },
            { "health_check = { grpc = 'a/B' },", '3: service "web": health_check.grpc: expected a service such as '
                .. '"package.Service", or "" for the whole server, got "a/B"' },
            { "health_check = { http = '/', grpc = '' },", '3: service "web": health_check: http and grpc exclude each other' },
            { "health_check = { http = '/', tcp = true },", '3: service "web": health_check: http and tcp exclude each other' },
            { "health_check = { retries = 0 },", '3: service "web": health_check.retries: must be between 1 and 100, got 0' },
            { "health_check = { port = 70000 },", '3: service "web": health_check.port: must be between 0 and 65535, got 70000' },
            { "health_check = { interval = 0 },", '3: service "web": health_check.interval: must be at least 0.01 s, got 0' },
            { "scale = { min = 5,\n max = 2 },", '3: service "web": scale.min: 5 is more than max, which is 2' },
            { "scale = { max = 0 },", '3: service "web": scale.max: must be between 1 and 1000, got 0' },
            { "scale = { min = -1 },", '3: service "web": scale.min: must be between 0 and 1000, got -1' },
            { "scale = { instances = 2,\n max = 3 },", '3: service "web": scale.instances: fixes the number: leave min and max out' },
            { "scale = { up_cooldown = -1 },", '3: service "web": scale.up_cooldown: must not be negative, got -1' },
            { "scale = { min_instances = 1 },", '3: service "web": scale.min_instances: unknown key: did you mean "min"?' },
            { "scale = { mode = 'recomend' },",
                '3: service "web": scale.mode: unknown value "recomend": did you mean "recommend"?' },
            { "scale = { mode = 'pinned' },", '3: service "web": scale.mode: pinned to how many? Write pinned = N beside it' },
            { "scale = { mode = 'paused',\n pinned = 3 },",
                '4: service "web": scale.pinned: goes with mode = "pinned": this is mode = "paused"' },
            { "scale = { max = 6, pinned = 9 },",
                '3: service "web": scale.pinned: 9 is outside of min, which is 2, and max, which is 6' },
            { "scale = { step_limits = {\n down_percent = 0 } },",
                '4: service "web": scale.step_limits.down_percent: must be between 0.1 and 100 percent, got 0' },
            { "scale = { saturation = { cpus = 9 } },",
                '3: service "web": scale.saturation.cpus: unknown key: did you mean "cpu"?' },
            { "scale = { churn = true },",
                '3: service "web": scale.churn: expected a table such as { changes = 20 }, or false, got true' },
            { "scale = { min = 0 },", '3: service "web": scale.min: 0 needs a route, where requests wait until an instance '
                .. 'is up: add route = { listen = ":8080" }, or keep min = 1' },
            { "scale = { min = 0 }, route = { listen = ':1',\nqueue = false },",
                '4: service "web": route.queue: is where requests wait for the first instance of scale.min = 0: leave it on' },
            { "scale = { min = 0 }, route = { listen = ':1', queue = {\nwhen_down = false } },",
                '4: service "web": route.queue.when_down: must be true with scale.min = 0: leave it out' },
            { "scale = { idle = '5m' },", '3: service "web": scale.idle: is for min = 0: without requests for so long no '
                .. 'instance is left' },
            { "scale = { shadow = 'qeue' },", '3: service "web": scale.shadow: unknown scale policy "qeue": did you mean "queue"?' },
            { "scale = { shadow = { 'queue',\n { policy = 'queue', drian = 3 } } },",
                '4: service "web": scale.shadow[2].drian: unknown key: did you mean "drain"?' },
            { "scale = { shadow = 5 },",
                '3: service "web": scale.shadow: expected a policy such as "queue" or { "queue", parameter = ... }, got 5' },
            { "scale = { shadow = { 'queue', 'queue', 'queue', 'queue', 'queue' } },",
                '3: service "web": scale.shadow: has 5: at most 4' },
            { "resources = { memory = '5m' },", '3: service "web": resources.memory: docker needs at least 6m' },
        }, DOCKER .. WEB, "}")
        assert.equal("1: cluster: min_instances: 9 is more than max_instances, which is 3",
            errors "cluster { min_instances = 9, max_instances = 3 }")
    end)

    it("routes that cannot be", function()
        check({
            { "route = {},", '3: service "web": route: listen is missing: listen = ":8080"' },
            { "route = { listen = 'x' },", '3: service "web": route.listen: expected an address such as ":8080" or "127.0.0.1:8080", got "x"' },
            { "route = { listen = ':99999' },", '3: service "web": route.listen: port 99999 is out of range: 1 to 65535' },
            { "route = { listen = 'tcp://:1', path = '/a' },", '3: service "web": route.path: is for HTTP: this route listens on tcp://' },
            { "route = { listen = ':1', path = 'x' },", '3: service "web": route.path: a path begins with /, got "x"' },
            { "route = { listen = ':1', path = '/?a' },", '3: service "web": route.path: the path of a route has no query, got "/?a"' },
            { "route = { listen = ':1', host = 'a:80' },", '3: service "web": route.host: expected a host name such as "shop.example" or '
                .. '"*.shop.example", got "a:80"' },
            { "route = { listen = ':1', host = '*' },", '3: service "web": route.host: expected a host name such as "shop.example" or '
                .. '"*.shop.example", got "*"' },
            { "route = { listen = ':1', host = 'a.*.b' },", '3: service "web": route.host: expected a host name such as "shop.example" or '
                .. '"*.shop.example", got "a.*.b"' },
            { "route = { listen = ':1', max_retries = 11 },", '3: service "web": route.max_retries: must be between 0 and 10, got 11' },
            { "route = { listen = ':1', backend_timeout = 0 },", '3: service "web": route.backend_timeout: must be at least 0.001 s, got 0' },
            { "route = { { listen = ':1', host = 'A' },\n { listen = '0.0.0.0:1', host = 'a', path = '/' } },",
                '4: service "web": route[2]: 0.0.0.0:1, host a, path / is already the route at 3' },
            { "route = { listen = ':1' } }\nservice 'b' { backends = { 'x:1' },\n route = { listen = ':1' }",
                '5: service "b": route: 0.0.0.0:1, host any, path / is already the route at 3' },
            { "route = { listen = '127.0.0.1:9880' },", '3: service "web": route.listen: 127.0.0.1:9880 meets the admin address '
                .. '127.0.0.1:9880: change one of them' },
            { "route = { listen = ':9880' },", '3: service "web": route.listen: 0.0.0.0:9880 meets the admin address '
                .. '127.0.0.1:9880: change one of them' },
        }, DOCKER .. WEB, "}")
    end)

    it("what does not fit the engine", function()
        check {
            { DOCKER .. "service 'x' {}", '2: service "x": needs an image, such as image = "acme/catalog:1.4", or backends' },
            { PROCESS .. "service 'x' {}", '2: service "x": needs a command, such as command = { "./catalog", "--port", "$PORT" }, '
                .. 'or backends' },
            { DOCKER .. "service 'x' {\n command = { './x' } }", '3: service "x": command: the docker engine needs an image, such as '
                .. 'image = "acme/catalog:1.4": a command alone is for engine = "process"' },
            { PROCESS .. "service 'x' {\n image = 'x' }", '3: service "x": image: the process engine has no images: write command = '
                .. '{ "./program" }, or engine = "docker"' },
            { PROCESS .. "service 'x' {\n image = 'x', command = { 'x' } }", '3: service "x": image: the process engine runs the '
                .. 'command: leave image out' },
            { DOCKER .. "service 'x' { image = 'x',\n backends = { 'a:1' } }", '3: service "x": backends: excludes image: the service runs '
                .. 'elsewhere, or here' },
            { DOCKER .. "service 'x' { image = 'a b' }", '2: service "x": image: expected an image such as "acme/catalog:1.4", got "a b"' },
            { PROCESS .. "service 'x' { command = { 'x' }, health_check = { command = 'x' } }", '2: service "x": health_check.command: '
                .. 'the process engine has no checks of its own: use http, tcp or grpc' },
            { "cluster { engine = 'swarm' }", "1: cluster: engine: the swarm engine comes later: not supported by this version" },
            { "cluster { docker = { host = 'ssh://x' } }", '1: cluster: docker.host: expected "unix:///var/run/docker.sock" or '
                .. '"tcp://host:2376", got "ssh://x"' },
            { WEB .. "ports = { '8080:80' } }", '2: service "web": ports: is already given on line 1\n'
                .. '2: service "web": ports[1]: port 8080 of the host can belong to one instance only, and scale.max is 20: '
                .. 'write "80", or scale = { instances = 1 }' },
            { "service 'a' { image = 'a', ports = { '81:80' }, scale = { instances = 1 } }\n"
                .. "service 'b' { image = 'b', ports = { '81:82' }, scale = { instances = 1 } }",
                '2: service "b": ports[1]: port 81 of the host is already taken at 1' },
            { "service 'a' { image = 'a', health_check = '/x' }", '1: service "a": health_check: needs a port of the instances: '
                .. 'ports = { "8080" }' },
        }
    end)

    it("backends that cannot be", function()
        check({
            { "{}", '1: service "x": backends: names none: write backends = { "10.0.0.5:9000" }' },
            { "'x:1'", '1: service "x": backends: expected a list such as { "10.0.0.5:9000" }, got "x:1"' },
            { "{ 'x' }", '1: service "x": backends[1]: expected an address such as "10.0.0.5:9000" or "unix:/run/x.sock", got "x"' },
            { "{ { host = 'x' } }", '1: service "x": backends[1]: needs host and port, or address = "10.0.0.5:9000"' },
            { "{ { host = 'x', port = 0 } }", '1: service "x": backends[1].port: must be between 1 and 65535, got 0\n'
                .. '1: service "x": backends[1].host: port 0 is out of range: 1 to 65535' },
            { "{ { 'x:1', weight = -1 } }", '1: service "x": backends[1].weight: must be between 1 and 1000, got -1' },
            { "{ { 'x:1', wieght = 1 } }", '1: service "x": backends[1].wieght: unknown key: did you mean "weight"?' },
            { "{ 'x:1', 'x:1' }", '1: service "x": backends[2]: x:1 is given twice' },
            { "{ 'x:1' }, scale = { min = 1 }", '1: service "x": scale: is for services that tidegate runs: this one has backends, '
                .. 'which are not scaled' },
            { "{ 'x:1' },\n volumes = { 'ab:/b' }", '2: service "x": volumes: is for services that tidegate runs: this one has backends' },
            { "{ 'x:1' }, health_check = { engine = true }", '1: service "x": health_check.engine: backends have no engine that could '
                .. 'run a check: use http, tcp or grpc' },
        }, "service 'x' { backends = ", " }")
    end)

    it("wrong uses of env and include", function()
        check {
            { "local x = env 'TIDEGATE_NOT_SET'\nlocal y = env 'ALSO_NOT_SET'", '1: env: TIDEGATE_NOT_SET is not set: set it, or give a '
                .. 'default: env("TIDEGATE_NOT_SET", "...")\n2: env: ALSO_NOT_SET is not set: set it, or give a default: '
                .. 'env("ALSO_NOT_SET", "...")' },
            { "env(5)", "1: env: expected the name of a variable, got 5" },
            { "include 'none.lua'", '1: include "none.lua": no such file or directory' },
            { "include '/etc/x.lua'", '1: include "/etc/x.lua": no such file or directory' },
            { "include '../x.lua'", '1: include "../x.lua": no such file or directory' },
            { "include(5)", '1: include: expected a file such as "services.lua", got 5' },
        }
    end)
end)
