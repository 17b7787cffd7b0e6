# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# etcd, the API server, controller manager and scheduler, in node 1. Sourced by init.

kubectl() { in_node 1 env HOME="$dir/home" KUBECONFIG="$pki/admin.kubeconfig" kubectl "$@"; }
helm() { in_node 1 env HOME="$dir/home" KUBECONFIG="$pki/admin.kubeconfig" helm "$@"; }

etcd_up() {
	local client=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
	node_daemon 1 etcd etcd --data-dir "$dir/etcd" --listen-client-urls $client --advertise-client-urls $client \
		--listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer \
		--unsafe-no-fsync --log-level warn
}

apiserver_up() {
	node_daemon 1 kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
		--bind-address=0.0.0.0 --advertise-address="$(node4 1)" --service-cluster-ip-range=$SERVICE4,$SERVICE6 \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
		--token-auth-file="$pki/tokens.csv" --client-ca-file="$dir/tls/ca.pem" \
		--tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
		--kubelet-preferred-address-types=InternalIP \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key"
}

controllers_up() {
	node_daemon 1 kube-controller-manager kube-controller-manager --kubeconfig="$pki/controller-manager.kubeconfig" \
		--leader-elect=false --use-service-account-credentials=true --bind-address=127.0.0.1 \
		--service-account-private-key-file="$pki/sa.key" --root-ca-file="$dir/tls/ca.pem" \
		--cluster-signing-cert-file="$dir/tls/ca.pem" --cluster-signing-key-file="$dir/tls/ca.key"
	node_daemon 1 kube-scheduler kube-scheduler --kubeconfig="$pki/scheduler.kubeconfig" --leader-elect=false \
		--bind-address=127.0.0.1
}

apiserver_is_ready() { kubectl get --raw /readyz; }
