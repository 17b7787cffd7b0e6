# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The cluster's Go programs, from the modules that modules/*/go.mod pin and go.sum verifies. Sourced by `cluster`.
#
# Each module's programs lie in one folder of the cache, whose name holds a hash of all they are made from: an edit of a
# go.mod builds anew, anything else does not. Sources and object files lie in the cache's work/, which goes when all is built.

# The toolchain that builds everything, whichever Go the machine has: it fetches this one as a module.
toolchain=go1.26.8

# agent-sandbox 0.4.6 is built with KRO, whose libraries are the same; the newer line has a module of its own.
sandbox_module() { case $CLUSTER_AGENT_SANDBOX in 0.4.6) echo controllers ;; *) echo agent-sandbox ;; esac; }

# The modules that this cluster needs, each once.
modules() { printf '%s\n' kubernetes controllers gvisor "$(sandbox_module)" | sort -u; }

module_dir() { # MODULE: where its programs lie
	local key
	key=$({
		cat "$here/modules/$1"/go.*
		[ "$1" != gvisor ] || cat "$here"/patches/*
		echo $toolchain
		declare -f in_module go_build "build_$1"
	} | sha256sum)
	echo "$cache/$1-${key:0:12}"
}

in_module() { # FOLDER COMMAND…
	local folder=$1
	shift
	(cd "$folder" && env -u GOPATH -u GOROOT GOENV=off GOTOOLCHAIN=$toolchain GOFLAGS='-mod=readonly -modcacherw -buildvcs=false' \
		GOPROXY="${GOPROXY:-https://proxy.golang.org}" GOMODCACHE="$cache/work/mod" GOCACHE="$cache/work/objects" \
		CGO_ENABLED=0 PATH="/usr/lib/go-1.23/bin:/usr/local/go/bin:$PATH" nice -n 5 "$@")
}

go_build() { # FOLDER PROGRAM LINKER-FLAGS PACKAGE…: PROGRAM may be empty, for the packages' own names
	in_module "$1" go build -trimpath -ldflags "-s -w $3" -o "$out/$2" "${@:4}"
}

# The folder of a module's sources, for what else they hold.
sources_of() { # FOLDER MODULE
	in_module "$1" go mod download "$2" >&2
	in_module "$1" go list -m -f '{{.Dir}}' "$2"
}

# One build for all that is made of Kubernetes' own libraries: each is compiled once.
build_kubernetes() {
	local k=k8s.io/kubernetes/cmd version=k8s.io/component-base/version
	go_build "$1" "" "-X $version.gitVersion=v1.34.4 -X $version.gitMajor=1 -X $version.gitMinor=34" \
		$k/kube-apiserver $k/kube-controller-manager $k/kube-scheduler $k/kubelet $k/kube-proxy $k/kubectl \
		github.com/coredns/coredns helm.sh/helm/v3/cmd/helm
}

build_controllers() {
	local sources
	build_agent-sandbox "$1"
	go_build "$1" kro "" github.com/kubernetes-sigs/kro/cmd/controller
	sources=$(sources_of "$1" github.com/kubernetes-sigs/kro)
	cp -r --no-preserve=mode "$sources/helm" "$out/kro-chart"
}

build_agent-sandbox() {
	local sources
	go_build "$1" "" "" sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller
	sources=$(sources_of "$1" sigs.k8s.io/agent-sandbox)
	cp -r --no-preserve=mode "$sources/k8s" "$out/k8s"
}

# Its containerd is a patched copy (patches/ says why).
build_gvisor() {
	local sources copy=$cache/work/gvisor
	rm -rf "$copy"
	mkdir -p "$copy"
	cp "$1"/go.* "$copy"
	sources=$(sources_of "$1" github.com/containerd/containerd)
	cp -r --no-preserve=mode "$sources" "$copy/containerd"
	patch --quiet -d "$copy/containerd" -p1 <"$here/patches/containerd-oom-score.patch"
	in_module "$copy" go mod edit -replace github.com/containerd/containerd=./containerd
	go_build "$copy" "" "" gvisor.dev/gvisor/runsc
	go_build "$copy" containerd-shim-runsc-v1 "" gvisor.dev/gvisor/shim
}

build_module() { # MODULE
	local dir out started=$SECONDS
	dir=$(module_dir "$1")
	[ ! -d "$dir" ] || return 0
	out=$cache/work/new-$1
	rm -rf "$out"
	mkdir -p "$out"
	say "building $1 (once)"
	# In the background, since `set -e` has no force in what is asked by || itself.
	(set -e; "build_$1" "$here/modules/$1") >"$cache/build.log" 2>&1 &
	wait $! || {
		tail -n 30 "$cache/build.log" >&2
		die "building $1 failed; its whole output is in $cache/build.log"
	}
	mv "$out" "$dir"
	say "built $1 in $((SECONDS - started)) s"
}

build_all() {
	local m wanted=()
	for m in $(modules); do
		if [ -d "$(module_dir "$m")" ]; then touch "$(module_dir "$m")"; else wanted+=("$m"); fi
	done
	[ ${#wanted[@]} -gt 0 ] || return 0
	need_go
	for m in "${wanted[@]}"; do build_module "$m"; done
	rm -rf "$cache/work"
}

# Debian's own Go is too old to fetch a toolchain; that of its backports can.
need_go() {
	local list
	mkdir -p "$cache/work"
	[ "$(in_module "$here" go env GOVERSION 2>"$cache/build.log")" != $toolchain ] || return 0
	say "installing golang-1.23-go from Debian's backports"
	list=$(mktemp -d)
	echo "deb http://deb.debian.org/debian bookworm-backports main" >"$list/sources.list"
	backports_install "$list" golang-1.23-go >"$cache/apt.log" 2>&1 || {
		rm -rf "$list"
		tail -n 20 "$cache/apt.log" >&2
		die "cannot install golang-1.23-go; see $cache/apt.log"
	}
	rm -rf "$list"
}

# Neither the machine's sources nor its lists are touched.
backports_install() { # FOLDER PACKAGE
	local options=(-q -y -o "Dir::Etc::SourceParts=$1/parts" -o "Dir::State::Lists=$1/lists"
		-o DPkg::Lock::Timeout=300 --no-install-recommends)
	mkdir -p "$1/lists/partial" "$1/parts"
	echo "deb http://deb.debian.org/debian bookworm main" >>"$1/sources.list"
	apt-get "${options[@]}" -o "Dir::Etc::SourceList=$1/sources.list" update &&
		DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" -o "Dir::Etc::SourceList=$1/sources.list" \
			install -t bookworm-backports "$2" </dev/null
}
