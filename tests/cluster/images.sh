# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The cluster's container images, without a registry: each a tar archive in the cache, named by a hash of what it is made
# from. Sourced by tools/cluster, after build.sh.

# The first ones are what the cluster itself runs.
images=(pause coredns agent-sandbox kro)
images_for_tests=(busybox agent)

# Of what an image is made, as text; and how. One pair per image.
inputs_of_pause() { cat "$here/pause.c"; }
make_pause() {
	mkdir "$root"
	gcc -static -O2 -s -o "$root/pause" "$here/pause.c"
	pack localhost/pause:1 "$root" 'Entrypoint=["/pause"]'
}

inputs_of_busybox() { sha256sum </bin/busybox; }
make_busybox() {
	local applet
	mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,root,var,www}
	cp /bin/busybox "$root/bin/"
	for applet in $(/bin/busybox --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	pack localhost/busybox:1 "$root" 'Cmd=["/bin/sh"]' 'Env=["PATH=/bin"]'
}

# One static program.
program_image() { # IMAGE MODULE PROGRAM
	mkdir -p "$root/tmp" "$root/etc"
	chmod 1777 "$root/tmp"
	cp "$(module_dir "$2")/$3" "$root/$3"
	pack "$1" "$root" "Entrypoint=[\"/$3\"]"
}
inputs_of_coredns() { module_dir kubernetes; }
make_coredns() { program_image localhost/coredns:1 kubernetes coredns; }
inputs_of_kro() { module_dir controllers; }
make_kro() { program_image localhost/kro:1 controllers kro; }
inputs_of_agent-sandbox() { module_dir "$(sandbox_module)"; }
make_agent-sandbox() { program_image localhost/agent-sandbox:1 "$(sandbox_module)" agent-sandbox-controller; }

# The reference agent: a Debian with a real pip and boto3, and tools to look around with. That it is in a lab it knows from
# the file that every lab has.
agent_packages=python3,python3-pip,python3-boto3,ca-certificates,curl,iproute2,iputils-ping,knot-dnsutils,procps
inputs_of_agent() { echo $agent_packages; cat "$top/tools/lab/agent.py" "$top"/tools/lab/models/*/*/*; }
make_agent() {
	local trust=/run/lab/ca.crt v environment=
	for v in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE AWS_CA_BUNDLE; do environment+="\"$v=$trust\", "; done
	environment+='"LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'
	TMPDIR=$work unshare --mount --propagation private mmdebstrap --quiet --mode=root --skip=cleanup/run --variant=minbase \
		--include=$agent_packages --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook='mkdir -p "$1/opt/lab" "$1/run/lab"' \
		--customize-hook="copy-in $top/tools/lab/agent.py $top/tools/lab/models /opt/lab" \
		--customize-hook='echo cluster >"$1/run/inside-lab"' --customize-hook='rm -rf "$1"/var/lib/apt/lists/*' \
		bookworm "$root.tar" http://deb.debian.org/debian
	pack localhost/agent:1 "$root.tar" 'Cmd=["sleep", "infinity"]' "Env=[$environment]"
}

pack() { # IMAGE ROOT [KEY=JSON…]
	"$here/image.py" "$1" "$2" "$work/image.tar" "${@:3}"
}

image_file() { # NAME
	local key
	key=$({ "inputs_of_$1"; declare -f "make_$1" program_image; cat "$here/image.py"; } | sha256sum)
	echo "$cache/image-$1-${key:0:12}.tar"
}

make_image() { # NAME
	local file work root started=$SECONDS
	file=$(image_file "$1")
	[ ! -e "$file" ] || { touch "$file"; return 0; }
	work=$cache/work-$1 root=$cache/work-$1/root
	rm -rf "$work"
	mkdir -p "$work"
	say "making the image $1 (once)"
	(set -e; "make_$1") >"$cache/image.log" 2>&1 & # in the background for the sake of `set -e`, as in build.sh
	wait $! || {
		tail -n 20 "$cache/image.log" >&2
		die "making the image $1 failed; its whole output is in $cache/image.log"
	}
	mv "$work/image.tar" "$file"
	rm -rf "$work"
	say "made it in $((SECONDS - started)) s"
}

make_images() {
	local i
	for i in "${images[@]}" "${images_for_tests[@]}"; do make_image "$i"; done
}

# moto, for STS, in the cache too. The machine's own Python runs it.
sts_dir() {
	local key
	key=$(sha256sum <"$here/sts/requirements.txt")
	echo "$cache/sts-${key:0:12}"
}

make_sts() {
	local folder
	folder=$(sts_dir)
	[ ! -d "$folder" ] || { touch "$folder"; return 0; }
	say "fetching moto (once)"
	rm -rf "$cache/work-sts"
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-cache-dir --no-compile \
		--require-hashes --no-deps --only-binary :all: --target "$cache/work-sts" -r "$here/sts/requirements.txt" \
		>"$cache/sts.log" 2>&1 || {
		tail -n 20 "$cache/sts.log" >&2
		die "cannot install moto from PyPI; see $cache/sts.log"
	}
	mv "$cache/work-sts" "$folder"
}

# What no `up` has used for two weeks goes.
prune_cache() {
	find "$cache" -mindepth 1 -maxdepth 1 -mtime +14 -name '*-????????????*' -exec rm -rf {} +
}
