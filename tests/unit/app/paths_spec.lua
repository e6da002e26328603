local C, ffi = require("ffi_room").load("base/mem.h", "app/paths.h")

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
unsigned geteuid(void);
int seteuid(unsigned uid);
int admintest_silent(const char *path);
int close(int fd);
]]

local ENOENT, ENOTUNIQ, EINVAL, EPERM, ENOTDIR, EACCES = -2, -76, -22, -1, -20, -13

local function owned(text)
    local copy = ffi.string(text)
    C.mem_free(text)
    return copy
end

local function with(name, value)
    if value then
        C.setenv(name, value, 1)
    else
        C.unsetenv(name)
    end
end

describe("app/paths", function()
    local dir
    local NAMES = {
        "TIDEGATE_RUNTIME_DIR", "TIDEGATE_STATE_DIR", "TIDEGATE_SOCKET", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME",
    }
    local before = {}

    before_each(function()
        for _, name in ipairs(NAMES) do
            before[name] = os.getenv(name)
            C.unsetenv(name)
        end
        dir = io.popen("mktemp -d"):read "*l"
    end)

    after_each(function()
        for _, name in ipairs(NAMES) do
            with(name, before[name])
        end
        os.execute("rm -rf " .. dir)
    end)

    local function find(socket, cluster)
        local path, why = ffi.new "char *[1]", ffi.new "char *[1]"
        local rc = C.paths_find_socket(socket, cluster, path, why)
        return rc, owned(rc == 0 and path[0] or why[0])
    end

    local function make(path)
        local why = ffi.new "char *[1]"
        local rc = C.paths_make(path, why)
        return rc, rc ~= 0 and owned(why[0]) or nil
    end

    -- A daemon's socket; the descriptor keeps it alive.
    local function daemon(cluster)
        os.execute(("mkdir -p %s/%s"):format(dir, cluster))
        local fd = C.admintest_silent(("%s/%s/control.sock"):format(dir, cluster))
        assert.is_true(fd >= 0)
        return fd
    end

    it("names directories by user and environment", function()
        local root = C.geteuid() == 0
        local uid = tonumber(C.geteuid())
        with("HOME", "/home/someone")
        assert.equal(root and "/run/tidegate/shop" or "/tmp/tidegate-" .. uid .. "/shop",
            owned(C.paths_runtime_dir(nil, "shop")))
        assert.equal(root and "/var/lib/tidegate/shop" or "/home/someone/.local/state/tidegate/shop",
            owned(C.paths_state_dir("", "shop")))
        with("TIDEGATE_RUNTIME_DIR", "/r")
        with("TIDEGATE_STATE_DIR", "/s")
        assert.equal("/r/shop", owned(C.paths_runtime_dir("", "shop")))
        assert.equal("/s/shop", owned(C.paths_state_dir(nil, "shop")))
        assert.equal("/given/shop", owned(C.paths_runtime_dir("/given", "shop")))
        assert.equal("/given/shop", owned(C.paths_state_dir("/given", "shop")))
    end)

    it("makes directories for nobody else, and again", function()
        local path = dir .. "/a/b/c"
        assert.equal(0, (make(path)))
        assert.equal("700", io.popen("stat -c %a " .. path):read "*l")
        assert.equal(0, (make(path)))
    end)

    it("refuses a directory that others could write or replace", function()
        os.execute(("mkdir -m 777 %s/open; touch %s/file; mkdir %s/mine; ln -s mine %s/link"):format(dir, dir, dir, dir))
        local rc, why = make(dir .. "/open")
        assert.equal(EPERM, rc)
        assert.matches("writable by nobody else", why)
        assert.equal(ENOTDIR, (make(dir .. "/link")))
        assert.equal(ENOTDIR, (make(dir .. "/file/x")))
        if C.geteuid() == 0 then
            os.execute(("chown 12345 %s/mine; mkdir %s/mine/ours"):format(dir, dir))
            assert.equal(EPERM, (make(dir .. "/mine/ours")))
            assert.equal(EPERM, (make(dir .. "/mine")))
        end
    end)

    it("takes the socket that is named", function()
        with("TIDEGATE_SOCKET", "/env.sock")
        assert.same({ 0, "/env.sock" }, { find() })
        assert.same({ 0, "/given.sock" }, { find("/given.sock", "shop") })
        with("TIDEGATE_RUNTIME_DIR", dir)
        assert.same({ 0, dir .. "/shop/control.sock" }, { find(nil, "shop") })
        for _, bad in ipairs { "", "../x", "a/b", "." } do
            assert.equal(EINVAL, (find(nil, bad)))
        end
    end)

    it("says when it may not look, instead of that there is none", function()
        with("TIDEGATE_RUNTIME_DIR", dir)
        local one, root = daemon "shop", C.geteuid() == 0
        os.execute(root and "chmod 700 " .. dir or "chmod 000 " .. dir .. "/shop")
        if root then
            C.seteuid(65534)
        end
        local rc, why = find()
        C.seteuid(root and 0 or C.geteuid())
        os.execute("chmod -R 700 " .. dir)
        assert.equal(EACCES, rc)
        assert.truthy(why:find(dir, 1, true) and why:find("permission denied: be the user who runs it, or root", 1, true), why)
        C.close(one)
    end)

    it("finds the only daemon, passing over dead sockets", function()
        with("TIDEGATE_RUNTIME_DIR", dir)
        local rc, why = find()
        assert.equal(ENOENT, rc)
        assert.matches("no daemon is running below " .. dir, why, 1, true)
        C.close(daemon "dead")
        assert.equal(ENOENT, (find()))
        local one = daemon "shop"
        assert.same({ 0, dir .. "/shop/control.sock" }, { find() })
        local two = daemon "stock"
        rc, why = find()
        assert.equal(ENOTUNIQ, rc)
        assert.truthy(why:find(dir .. "/shop/control.sock", 1, true))
        assert.truthy(why:find(dir .. "/stock/control.sock", 1, true))
        C.close(one)
        C.close(two)
    end)
end)
