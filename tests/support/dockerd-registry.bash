# shellcheck shell=bash disable=SC2154 # dir comes from there
# dockerd-registry.bash - a loopback registry beside the engine of tests/support/dockerd, which
# sources this file; it lives in the same network namespace and cgroup and ends with them.
#
#   dockerd registry start DIR [--auth]    at 127.0.0.1:5000; --auth: user test, password secret
#   dockerd registry push DIR NAME:TAG     as 127.0.0.1:5000/NAME:TAG; the local image stays (delete it
#                                          before a pull that is to move bytes)
#   dockerd registry pause|resume|kill DIR SIGSTOP: a stalled pull; SIGKILL: death in the middle
#   dockerd registry stop DIR              and forget what was pushed
# start after kill keeps what was pushed.

readonly REGISTRY=127.0.0.1:5000

registry_start() { # [--auth]
    local auth=
    if ! command -v docker-registry >/dev/null; then
        echo "dockerd: missing: docker-registry" >&2
        exit 77
    fi
    if [[ ${1:-} == --auth ]]; then
        # shellcheck disable=SC2016 # a bcrypt hash
        echo 'test:$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a' >"$dir/htpasswd"
        auth="auth: {htpasswd: {realm: test, path: $dir/htpasswd}}"
    fi
    mkdir -p "$dir/registry"
    printf '%s\n' "version: 0.1" "http: {addr: '$REGISTRY'}" \
        "storage: {filesystem: {rootdirectory: $dir/registry}}" "$auth" >"$dir/registry.yml"
    launch registry docker-registry serve "$dir/registry.yml"
    ready registry "http://$REGISTRY/v2/"
    echo "registry=$REGISTRY"
}

registry_push() { # NAME:TAG
    local ref=$1 remote=$REGISTRY/${1%:*} tag=${1##*:} auth answer
    auth=$(printf '{"username":"test","password":"secret","serveraddress":"%s"}' "$REGISTRY" |
        base64 -w 0 | tr +/ -_)
    call POST "/images/$ref/tag" --url-query "repo=$remote" --url-query "tag=$tag"
    answer=$(call POST "/images/$remote/push" --url-query "tag=$tag" -H "X-Registry-Auth: $auth") ||
        die "push $ref: $answer"
    call DELETE "/images/$remote:$tag" -o /dev/null
    [[ $answer != *errorDetail* ]] || die "push $ref: $answer"
}

registry() { # COMMAND DIR [ARGUMENT...]
    local command=$1
    place "${2:?}"; shift 2
    case $command in
    start | push) "registry_$command" "$@" ;;
    pause) signal STOP registry ;;
    resume) signal CONT registry ;;
    kill) signal KILL registry ;;
    stop)
        ! pid_of registry >/dev/null || signal KILL registry
        rm -rf --one-file-system "$dir"/registry{,.yml,.pid,.log} "$dir/htpasswd"
        ;;
    *) die "unknown command: registry $command" ;;
    esac
}
