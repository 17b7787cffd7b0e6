# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# A node: namespaces of its own, and in them containerd (runc, gVisor), kubelet and kube-proxy. Sourced by init.

# Where a process of the cluster's own pid namespace is meant by "pid" here, it is the node's first one.
node_pid() { cat "$dir/node$1/init"; }

in_node() { # NUMBER COMMAND…
	local pid
	pid=$(node_pid "$1")
	shift
	nsenter --target "$pid" --mount --uts --ipc --pid --net -- "$@"
}

# Starts a daemon in a node; known as node1.kubelet, by the pid of the nsenter that waits for it.
node_daemon() { # NUMBER NAME COMMAND…
	local n=$1 name=$2
	shift 2
	spawn "node$n" "node$n.$name" \
		nsenter --target "$(node_pid "$n")" --mount --uts --ipc --pid --net -- "$@"
}

node_namespaces() { # NUMBER
	local node=$dir/node$1 launcher
	mkdir -p "$node"
	setsid nsenter --net="/run/netns/node$1" unshare --mount --uts --ipc --pid --fork --mount-proc \
		"$here/node-init" "$1" >"$dir/log/node$1.init.log" 2>&1 </dev/null &
	launcher=$!
	await 10 test -e "$node/ready" || { cat "$dir/log/node$1.init.log" >&2; return 1; }
	pgrep -P "$launcher" >"$node/init"
}

# Every cgroup hierarchy gets a place for each node: kubelets that share one would end each other's pods.
node_cgroups() { # NUMBER
	local h
	for h in $(hierarchies); do
		mkdir -p "$h/$cgroup/node$1"
		[ ! -e "$h/cpuset.cpus" ] || [ ! -e "$h/tasks" ] || cpuset "$h"
	done
}
cpuset() { # HIERARCHY: version 1 starts empty
	local f c
	for c in "$1/$cgroup" "$1/$cgroup"/node*; do
		for f in cpuset.cpus cpuset.mems; do cat "$1/$f" >"$c/$f"; done
	done
}

containerd_config() { # NUMBER
	local node=$dir/node$1 cri='plugins."io.containerd.grpc.v1.cri"'
	cat <<-T
		version = 2
		root = "$node/containerd"
		state = "/run/containerd"
		oom_score = 0
		disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
		  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
		  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
		[grpc]
		  address = "/run/containerd/containerd.sock"
		[$cri]
		  sandbox_image = "localhost/pause:1"
		  restrict_oom_score_adj = true
		  disable_apparmor = true
		  [$cri.cni]
		    bin_dir = "$node/cni/bin"
		    conf_dir = "$node/cni/net.d"
		  [$cri.containerd]
		    snapshotter = "overlayfs"
		    default_runtime_name = "runc"
		    [$cri.containerd.runtimes.runc]
		      runtime_type = "io.containerd.runc.v2"
		      [$cri.containerd.runtimes.runc.options]
		        SystemdCgroup = false
		    [$cri.containerd.runtimes.runsc]
		      runtime_type = "io.containerd.runsc.v1"
		      pod_annotations = ["dev.gvisor.*"]
		      [$cri.containerd.runtimes.runsc.options]
		        TypeUrl = "io.containerd.runsc.v1.options"
		        ConfigPath = "$node/runsc.toml"
	T
}

cni_config() { # NUMBER
	jq -n --arg p4 "$(pods4 "$1")" --arg p6 "$(pods6 "$1")" --arg state "$dir/node$1/cni/state" '
		{cniVersion: "0.4.0", name: "aws-cni", plugins: [
		  {name: "aws-cni", type: "aws-cni", prefix4: $p4, prefix6: $p6, state: $state, mtu: "9001"}]}'
}

# What is on the node's disk before it first starts.
containerd_install() { # NUMBER
	local node=$dir/node$1
	mkdir -p "$node/cni/bin" "$node/cni/net.d"
	ln -s "$here/aws-cni" "$node/cni/bin/aws-cni"
	ln -s /usr/lib/cni/loopback "$node/cni/bin/loopback"
	cni_config "$1" >"$node/cni/net.d/10-aws.conflist"
	containerd_config "$1" >"$node/containerd.toml"
	cat >"$node/runsc.toml" <<-T
		binary_name = "$(module_dir gvisor)/runsc"
		[runsc_config]
		  platform = "systrap"
		  network = "sandbox"
	T
}

containerd_up() { node_daemon "$1" containerd containerd -c "$dir/node$1/containerd.toml"; }

containerd_answers() { in_node "$1" ctr version; }

import_image() { # NUMBER FILE
	in_node "$1" ctr -n k8s.io images import --snapshotter overlayfs "$2" >>"$dir/log/images.log" 2>&1 ||
		{ echo "cluster: node$1 cannot import $2; see $dir/log/images.log" >&2; return 1; }
}

kubelet_config() { # NUMBER
	cat <<-Y
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/tls/ca.pem}}
		authorization: {mode: Webhook}
		cgroupDriver: cgroupfs
		cgroupRoot: /$cgroup/node$1
		enforceNodeAllocatable: []
		failCgroupV1: false
		failSwapOn: false
		oomScoreAdj: 0
		clusterDNS: [$CLUSTER_DNS]
		clusterDomain: cluster.local
		resolvConf: $dir/node$1/resolv.conf
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
		logging: {verbosity: 2}
	Y
}

proxy_config() { # NUMBER
	cat <<-Y
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: $CLUSTER_PROXY
		hostnameOverride: node$1
		clientConnection: {kubeconfig: $pki/proxy.kubeconfig}
		clusterCIDR: "$POD4,$POD6"
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
		oomScoreAdj: 0
	Y
}

kubelet_up() { # NUMBER
	kubelet_config "$1" >"$dir/node$1/kubelet.yaml"
	node_daemon "$1" kubelet kubelet --config="$dir/node$1/kubelet.yaml" --kubeconfig="$pki/kubelet$1.kubeconfig" \
		--hostname-override="node$1" --node-ip="$(node4 "$1"),$(node6 "$1")"
}

kube_proxy_up() { # NUMBER
	proxy_config "$1" >"$dir/node$1/proxy.yaml"
	node_daemon "$1" kube-proxy kube-proxy --config="$dir/node$1/proxy.yaml"
}

node_is_ready() { # NUMBER
	[ "$(kubectl get node "node$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]
}
