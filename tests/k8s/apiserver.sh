# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A real API server (etcd, kube-apiserver) on the lab's node: sourced after tests/lab/lib.sh, with KUBE_BIN set.

: "${KUBE_BIN:?a folder with kube-apiserver and kubectl}"

k() { node "$KUBE_BIN/kubectl" --kubeconfig "$(lab_dir)/kube/kubeconfig" "$@"; }
quietly() { "$@" >/dev/null; }

# PLURAL KIND GROUP VERSION SCOPE
crd() {
	k apply -f - <<-END
		apiVersion: apiextensions.k8s.io/v1
		kind: CustomResourceDefinition
		metadata: {name: $1.$3}
		spec:
		  group: $3
		  scope: $5
		  names: {kind: $2, plural: $1, singular: ${2,,}}
		  versions:
		  - name: $4
		    served: true
		    storage: true
		    subresources: {status: {}}
		    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
	END
}

certificates() {
	local d=$1
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$d/ca.key" -out "$d/ca.pem" -days 2 -subj /CN=lab
	openssl req -newkey rsa:2048 -nodes -keyout "$d/api.key" -out "$d/api.csr" -subj /CN=kube-apiserver
	openssl x509 -req -in "$d/api.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 2 -out "$d/api.crt" \
		-extfile <(echo "subjectAltName=IP:127.0.0.1,IP:10.0.0.10")
	openssl genrsa -out "$d/sa.key" 2048
	openssl rsa -in "$d/sa.key" -pubout -out "$d/sa.pub"
} 2>/dev/null

api_start() {
	local d
	d=$(lab_dir)/kube
	lab start node kube-apiserver "$KUBE_BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
		--bind-address=0.0.0.0 --advertise-address=10.0.0.10 --service-cluster-ip-range=172.20.0.0/16 \
		--allow-privileged --authorization-mode=RBAC --token-auth-file="$d/tokens.csv" --tls-cert-file="$d/api.crt" \
		--tls-private-key-file="$d/api.key" --service-account-issuer=https://kubernetes \
		--service-account-key-file="$d/sa.pub" --service-account-signing-key-file="$d/sa.key" \
		--disable-admission-plugins=ServiceAccount,NamespaceLifecycle,PodSecurity
	await 60 quiet k get --raw /readyz
}

cluster_start() {
	local d client=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
	d=$(lab_dir)/kube
	mkdir -p "$d/etcd"
	certificates "$d"
	echo 'token,admin,1,"system:masters"' >"$d/tokens.csv"
	cat >"$d/kubeconfig" <<-END
		current-context: lab
		clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.pem}}]
		contexts: [{name: lab, context: {cluster: lab, user: admin}}]
		users: [{name: admin, user: {token: token}}]
	END
	lab start node etcd etcd --data-dir "$d/etcd" --listen-client-urls $client --advertise-client-urls $client \
		--listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer --unsafe-no-fsync
	api_start
}

# The Service of cluster DNS, at the lab's resolver.
make_dns_service() {
	quietly k apply -f - <<-END
		apiVersion: v1
		kind: Service
		metadata: {name: kube-dns, namespace: kube-system}
		spec: {clusterIP: 172.20.0.10, selector: {k8s-app: kube-dns}, ports: [{name: dns, port: 53, protocol: UDP}]}
	END
}
# NAMESPACE NAME LABELS
make_pod() {
	k apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $2, namespace: $1, labels: {$3}}
		spec: {nodeName: node1, containers: [{name: c, image: none}]}
	END
}

# NAMESPACE NAME ADDRESS4 ADDRESS6: what the kubelet writes.
run_pod() {
	k patch pod -n "$1" "$2" --type merge --subresource status -p \
		"{\"status\":{\"phase\":\"Running\",\"podIP\":\"$3\",\"podIPs\":[{\"ip\":\"$3\"},{\"ip\":\"$4\"}]}}"
}

# NAMESPACE NAME: the interface that the Amazon VPC CNI would make for the pod.
interface_of() { echo "eni$(printf '%s.%s' "$1" "$2" | sha1sum | cut -c 1-11)"; }
uid_of() { k get pod -n "$1" "$2" -o jsonpath='{.metadata.uid}'; } # NAMESPACE NAME

# NAMESPACE NAME UID WAIT ADDRESS4 ADDRESS6: ADD, as containerd would call it after the plugin that made the interface.
cni_add_pod() {
	local previous
	previous='{"cniVersion":"1.0.0",
		"interfaces":[{"name":"'$(interface_of "$1" "$2")'"},{"name":"eth0","sandbox":"/var/run/netns/'$2'"}],
		"ips":[{"address":"'$5'/32","interface":1},{"address":"'$6'/128","interface":1}]}'
	node env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS="/var/run/netns/$2" CNI_IFNAME=eth0 CNI_PATH=/ \
		CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=$1;K8S_POD_NAME=$2;K8S_POD_UID=$3" "$BUILD/bin/sluice-cni" \
		<<<'{"cniVersion":"1.0.0","name":"lab","type":"sluice-cni","waitSeconds":'"$4"',"prevResult":'"$previous"'}' \
		2>&1 >/dev/null
}

# POD ADDRESS PORT: a lost first packet is sent again after a second, not before.
first_packet_of() { lab pod "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.8)' "$2" "$3" 2>/dev/null; }

# POD ADDRESS4 ADDRESS6: its interface and routes go, as with its sandbox.
unwire() {
	lab remove "$1"
	node ip rule delete pref 512 to "$2"
	node ip -6 rule delete pref 512 to "$3"
}
