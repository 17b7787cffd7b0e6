#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart's capabilities are enough, and none is too many: with exactly those of its containers everything works, and with any one
# of them missing the program refuses to start or says what it cannot do. A capability that is new in the chart needs a line here.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# What is said without it, and whether the program runs all the same.
declare -A said=(
	[agent.BPF]='ends: /settings: Operation not permitted'
	[agent.NET_ADMIN]='ends: the kernel programs cannot be loaded: Operation not permitted'
	# Without it the verifier walks speculative paths too: where it gives up, and how late, depends on the kernel.
	[agent.PERFMON]='ends: cannot be loaded'
	[agent.SYS_NICE]='runs: closed without real-time priority'
	[dnsproxy.NET_ADMIN]='ends: cannot make the sockets: Operation not permitted'
	[dnsproxy.NET_BIND_SERVICE]='ends: cannot make the sockets: Permission denied'
	[dnsproxy.BPF]='runs: waiting for the agent: .*Operation not permitted'
	[dnsproxy.SETUID]='ends: cannot give up privileges: Operation not permitted'
	[dnsproxy.SETGID]='ends: cannot give up privileges: Operation not permitted'
	[dnsproxy.SYS_CHROOT]='ends: cannot give up privileges: Operation not permitted'
)

chart_capabilities() { # CONTAINER
	sed -n "/^      - name: $1\$/,/volumeMounts:/s/^            - \([A-Z_]*\).*/\1/p" "$top/charts/sluice/templates/daemonset.yaml"
}

# As a container runtime starts it: root, no new privileges, a cgroup of its own, no capability but the chart's, RuntimeDefault.
cgroups=$(sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2 .*/\1/p' /proc/self/mountinfo | head -n 1)
[ -n "$cgroups" ] || { echo "no cgroup2 mounted here"; exit 77; }
program() { if [ "$1" = agent ]; then echo sluiced; else echo sluice-dnsproxy; fi; }
start_as() { # CONTAINER CAPABILITIES COMMAND…: what goes before the program
	local c set=-all arguments=()
	for c in $2; do set+=,+${c,,}; done
	[ "$1" != agent ] || arguments=(--config "$(lab_dir)/sluice/sluice.yaml")
	: >"$(lab_dir)/log/$(program "$1").log"
	mkdir -p "$cgroups/$LAB-$1"
	# shellcheck disable=SC2016
	lab start node "$(program "$1")" sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$cgroups/$LAB-$1" \
		setpriv --no-new-privs --inh-caps=-all --bounding-set="$set" "${@:3}" "$BUILD/bin/$(program "$1")" "${arguments[@]}"
}
start_without() { # CONTAINER CAPABILITY
	local profile=()
	[ "$2" != BPF ] || profile=(/usr/bin/python3 "$tests_lab/runtime_default.py")
	start_as "$1" "$(chart_capabilities "$1" | grep -vx "$2")" "${profile[@]}"
}
in_log() { grep -q -- "$2" "$(lab_dir)/log/$(program "$1").log"; } # CONTAINER TEXT
ended() { not lab alive "$(program "$1")"; }
stop() { # CONTAINER
	lab signal "$(program "$1")" TERM 2>/dev/null || true
	await 10 ended "$1"
}

check_without() { # CONTAINER CAPABILITY
	local wanted=${said[$1.$2]:-nothing}
	[ "$wanted" != nothing ] || { fail "$1: $2: what it is for is tested nowhere"; return; }
	start_without "$1" "$2"
	check "$1 without $2 says: ${wanted#*: }" await 120 in_log "$1" "${wanted#*: }"
	case $wanted in
	ends:*) check "$1 without $2 ends" await 15 ended "$1" ;;
	*) check "$1 without $2 runs" lab alive "$(program "$1")" ;;
	esac
}

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"

for c in $(chart_capabilities agent); do
	check_without agent "$c"
	if [ "$c" = SYS_NICE ]; then
		await 10 agent_answers
		check "bpfctl status says it too" grep -q CAP_SYS_NICE < <(bpfctl status)
	fi
	stop agent
	check "what a failed start has left is cleaned up" quiet bpfctl cleanup
done

start_without agent none
check "agent: the chart's are enough" await 15 agent_answers
check "the closing thread is real-time" not in_log agent real-time
for c in $(chart_capabilities dnsproxy); do
	check_without dnsproxy "$c"
	stop dnsproxy
done
start_without dnsproxy none
check "dnsproxy: the chart's are enough" await 15 proxy_runs
check "it has put the egress filter on its cgroup" not in_log dnsproxy 'no egress filter'
await 15 is_enforced
equal "five outcomes" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes)"
stop agent
start_without agent none
check "an agent takes over with the same" await 15 agent_answers
stop dnsproxy
start_as dnsproxy "$(sed -n 's/^CapabilityBoundingSet=//p' "$top/dnsproxy/sluice-dnsproxy.service.in" | sed 's/CAP_//g')"
check "the proxy's unit, without a container's profile, has enough too" await 15 proxy_runs
equal "five outcomes" "PASS PASS PASS BLOCKED BLOCKED" "$(outcomes)"
sluice_stop
rmdir "$cgroups/$LAB-agent" "$cgroups/$LAB-dnsproxy"
