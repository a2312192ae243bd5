#!/bin/sh
# Installs what the tests need from Debian: real clients, a real registry, a real authority, a browser,
# a linter of metrics, and what the load harness sets beside the gateway.
# More can be named, as program:package.
# Installs nothing when everything is there. Asks for root only when something is missing.
set -eu

# program:package
needed="
dockerd:docker.io
containerd:docker.io
ctr:docker.io
docker:docker.io
docker-registry:docker-registry
podman:podman
crun:crun
skopeo:skopeo
buildah:buildah
promtool:prometheus
chromium-headless-shell:chromium-headless-shell
mkfifo:coreutils
npm:npm
pebble:pebble
pebble-challtestsrv:pebble
curl:curl
openssl:openssl
unshare:util-linux
ip:iproute2
timeout:coreutils
script:bsdutils
nginx:nginx-light
haproxy:haproxy
$*
"

packages=""
for line in $needed; do
    program=${line%%:*}
    package=${line##*:}
    if [ ! -x "/usr/bin/$program" ] && [ ! -x "/usr/sbin/$program" ]; then
        case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
    fi
done

if [ -n "$packages" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "tests/setup.sh: missing:$packages" >&2
        echo "Install them, or run as root: sh tests/setup.sh" >&2
        exit 1
    fi
    echo "tests/setup.sh: installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    # Packages that start a service on install must not: the tests start their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of names
    apt-get install -qq -y --no-install-recommends $packages > /dev/null
fi

# What looks at pages in the browser for what shuts people out.
axe=axe-core@4.14.1
if [ "$(cat target/npm/version 2> /dev/null)" != "$axe" ]; then
    npm install --silent --no-audit --no-fund --prefix target/npm "$axe"
    echo "$axe" > target/npm/version
fi

if [ "$(id -u)" != 0 ]; then
    echo "tests/setup.sh: real clients need root (mount namespaces, dockerd); their tests will fail" >&2
fi
