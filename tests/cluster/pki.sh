# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The cluster's certificates, keys and kubeconfigs, in $dir/pki. The CA is the one that the lab's internet uses too
# (tools/lab/services.sh, certificates): so every namespace's ConfigMap kube-root-ca.crt is what a pod needs to trust it.

pki=$dir/pki

issue() { # NAME SUBJECT EXTENSION
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" \
		-subj "$2" 2>/dev/null
	openssl x509 -req -in "$pki/$1.csr" -CA "$dir/tls/ca.pem" -CAkey "$dir/tls/ca.key" -CAcreateserial -days 30 \
		-out "$pki/$1.crt" -extfile <(echo "$3") 2>/dev/null
}

kubeconfig() { # FILE USER GROUPS
	local token
	token=$(openssl rand -hex 16)
	echo "$token,$2,$2,\"$3\"" >>"$pki/tokens.csv"
	cat >"$pki/$1.kubeconfig" <<-K
		apiVersion: v1
		kind: Config
		clusters: [{name: sluice, cluster: {server: "$API", certificate-authority: $dir/tls/ca.pem}}]
		users: [{name: $1, user: {token: $token}}]
		contexts: [{name: sluice, context: {cluster: sluice, user: $1}}]
		current-context: sluice
	K
}

pki_up() {
	local n names=DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:fd00:96::1
	names+=,IP:$(node4 1)
	mkdir -p "$pki"
	chmod 700 "$pki"
	for n in kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local; do
		names+=,DNS:$n
	done
	issue apiserver /CN=kube-apiserver "subjectAltName=$names"
	issue kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
	openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
	openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
	: >"$pki/tokens.csv"
	kubeconfig admin admin system:masters
	kubeconfig controller-manager system:kube-controller-manager ''
	kubeconfig scheduler system:kube-scheduler ''
	kubeconfig proxy system:kube-proxy ''
	for n in "${nodes[@]}"; do kubeconfig "kubelet$n" "system:node:node$n" system:nodes; done
}
