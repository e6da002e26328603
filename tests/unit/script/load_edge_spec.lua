-- What routes may say of changing and answering requests, and what it becomes.
local configuration = require "configuration"
local load = configuration.load

local function with(route, files)
    files = files or {}
    files["tidegate.lua"] = ([[
service "web" {
  backends = { "127.0.0.1:9" },
  route = { listen = ":8080",
    %s },
}]]):format(route)
    return load(files)
end

local function route(text, files)
    local config, why = with(text, files)
    assert.is_not_nil(config, why)
    return config.services[1].routes[1]
end

local function refused(text, sentence, files)
    local config, why = with(text, files)
    assert.is_nil(config, "was taken: " .. text)
    assert.truthy(why:find(sentence, 1, true), why)
    assert.truthy(why:find("tidegate.lua:4: ", 1, true), why)
end

describe("script_load, the edge", function()
    after_each(configuration.clean)

    it("takes redirects", function()
        local function to(text)
            local r = route("redirect = " .. text).redirect
            return { r.to, r.status }
        end
        assert.same({ "https://{host}{uri}", 301 }, to '"https"')
        assert.same({ "https://{host}:8443{uri}", 308 }, to '{ to = "https", port = 8443, status = 308 }')
        assert.same({ "https://{host}{uri}", 301 }, to '{ to = "https", port = 443 }')
        assert.same({ "https://www.{host}/new{path}?{query}", 301 }, to '"https://www.{host}/new{path}?{query}"')
        assert.same({ "http://[::1]:80{uri}", 302 }, to '{ to = "http://[::1]:80{uri}", status = 302 }')
        assert.same({ "/new{path}", 301 }, to '"/new{path}"')
    end)

    it("refuses redirects that a request could lead elsewhere", function()
        for _, to in ipairs { "{path}", "{uri}", "//{host}", "/\\\\x", "https://{path}", "https://new.example{query}", "https://",
            "https://{query}.example", "ftp://new.example", "new.example", "https://new_example", "https://a@b" } do
            refused(('redirect = "%s"'):format(to), "redirect.to: ")
        end
        refused('redirect = "https://new.example/ x"', "redirect.to: has characters")
        refused('redirect = "https://new.example{ury}"', 'unknown place {ury}: did you mean "uri"?')
        refused('redirect = { to = "https", status = 200 }', "redirect.status: expected a status of 301, 302")
        refused('redirect = { to = "https://a.example", port = 1 }', "redirect.port: goes with")
        refused('redirect = { too = "https" }', 'redirect.too: unknown key: did you mean "to"?')
        refused("redirect = true", 'redirect: expected "https"')
    end)

    it("takes answers, of texts and files beside the configuration", function()
        local function answer(text, files)
            local a = route("answer = " .. text, files).answer
            return { a.status, a.body, a.type, a.file }
        end
        assert.same({ 200, "ok", "text/plain; charset=utf-8" }, answer '"ok"')
        assert.same({ 410, "{}", "application/json" }, answer '{ status = 410, body = "{}", type = "application/json" }')
        assert.same({ 204, "", "text/plain; charset=utf-8" }, answer '{ status = 204 }')
        local files = { ["pages/a.html"] = "<p>", ["pages/b"] = "b" }
        assert.same({ 200, "<p>", "text/html; charset=utf-8" }, answer('{ file = "pages/a.html" }', files))
        assert.same({ 200, "b", "text/plain; charset=utf-8" }, answer('{ file = "./pages/b" }', files))
    end)

    it("refuses answers that are none, with the file's name", function()
        refused("answer = { status = 100 }", "answer.status: expected a status from 200 to 599")
        refused('answer = { body = "a", file = "a.txt" }', "answer.file: excludes body", { ["a.txt"] = "a" })
        refused('answer = { file = "none.txt" }', 'answer.file: "none.txt": no such file or directory')
        refused('answer = { file = "../x" }', "answer.file: ")
        refused('answer = { file = "big.txt" }', "32769 bytes: at most 32768", { ["big.txt"] = ("x"):rep(32769) })
        refused('answer = { type = "a\\r\\nb: c/d" }', "answer.type: expected")
        refused('answer = "a", redirect = "https"', "answer: is never given: the route has redirect")
    end)

    it("wants no backends where every route answers, and only there", function()
        local config, why = load 'service "w" { route = { { listen = ":80", redirect = "https" }, { listen = ":81", answer = "a" } } }'
        assert.is_not_nil(config, why)
        assert.same({ "backends", {} }, { config.services[1].source, config.services[1].backends })
        config, why = load 'service "w" { route = { { listen = ":80", redirect = "https" }, { listen = ":81" } } }'
        assert.is_nil(config)
        assert.truthy(why:find("needs an image", 1, true), why)
    end)

    it("is for HTTP", function()
        local config, why = load 'service "w" { backends = { "127.0.0.1:9" }, route = { listen = "tcp://:80", redirect = "https" } }'
        assert.is_nil(config)
        assert.truthy(why:find("redirect: is for HTTP: this route listens on tcp://", 1, true), why)
    end)
end)
