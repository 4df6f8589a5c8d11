#!/bin/sh
# Joins this host to a Muster fleet: fetches the agent, checks it, and lets it enroll and install itself.
# The control plane fills in the values below; the line that fetched this script has checked its SHA-256.
# The join token comes in MUSTER_JOIN_TOKEN, never as an argument. Running it again is harmless.
set -eu

url='@URL@'
agent_url='@AGENT_URL@'
ca_sha256='@CA_SHA256@'
sha256_x86_64='@SHA256_X86_64@'
sha256_aarch64='@SHA256_AARCH64@'

fail() {
    echo "muster: $1" >&2
    exit "${2:-1}"
}

[ "$(id -u)" = 0 ] || fail "root is needed: run the line in a root shell, or put sudo before sh in it" 77
token=${MUSTER_JOIN_TOKEN:-}
unset MUSTER_JOIN_TOKEN
[ -n "$token" ] || fail "MUSTER_JOIN_TOKEN is empty: paste the whole line that the control plane printed" 64

arch=$(uname -m)
case "$arch" in
x86_64 | amd64) arch=x86_64 expected=$sha256_x86_64 ;;
aarch64 | arm64) arch=aarch64 expected=$sha256_aarch64 ;;
*) fail "there is no agent for the architecture $arch: x86_64 and aarch64 are supported" 65 ;;
esac
[ -n "$expected" ] || fail "this control plane serves no agent for $arch: its operator has to add one" 69
command -v sha256sum >/dev/null 2>&1 || fail "sha256sum is missing: install coreutils or busybox" 69

# Where a file may be executed: /tmp is often mounted without.
work=
for parent in "${TMPDIR:-/tmp}" /var/tmp /root; do
    if work=$(mktemp -d "$parent/muster.XXXXXX" 2>/dev/null); then
        printf '#!/bin/sh\nexit 0\n' >"$work/try" && chmod 700 "$work/try"
        if "$work/try" 2>/dev/null; then break; fi
        rm -rf "$work"
    fi
    work=
done
[ -n "$work" ] || fail "no directory takes files that may be executed: tried ${TMPDIR:-/tmp}, /var/tmp and /root" 73
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP INT TERM
agent=$work/muster-agent

# The certificate is not judged here: the SHA-256 below is.
source=$url/agent/$arch/muster-agent
if command -v curl >/dev/null 2>&1; then
    curl -fsSLk --retry 2 -o "$agent" "$source" || fail "no agent from $source: is there a route and an open port to it?" 69
elif command -v wget >/dev/null 2>&1; then
    wget -q --no-check-certificate -O "$agent" "$source" || fail "no agent from $source: is there a route and an open port to it?" 69
else
    fail "neither curl nor wget is here: install one of them" 69
fi
actual=$(sha256sum <"$agent")
[ "${actual%% *}" = "$expected" ] || fail "what came from $source is not the agent that was promised: nothing was run" 76
chmod 700 "$agent"

printf '%s\n' "$token" | "$agent" join --url "$agent_url" --ca-sha256 "$ca_sha256" --token-file /dev/stdin "$@"
