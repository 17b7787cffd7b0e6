# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The lab's servers, all real: nginx, knot, unbound. Sourced by init after topology.sh; by tests/cluster/fabric.sh too, with
# LAB_STS_PORT set to where an STS listens on the loopback.

lab_tools=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Starts a daemon: NS NAME COMMAND…; its pid and start time go to run/NAME, so that only it is ever signalled.
spawn() {
	local ns=$1 name=$2
	shift 2
	mkdir -p "$LAB_DIR/run" "$LAB_DIR/log"
	rm -f "$LAB_DIR/run/$name"
	# shellcheck disable=SC2016 # expanded by the inner shell, whose pid the daemon keeps
	setsid nsenter --net="/run/netns/$ns" -- sh -c '
		stat=$(cat /proc/$$/stat)
		set -- "$1" "$(echo "${stat##*) }" | cut -d" " -f20)" "$@"
		file=$1 start=$2
		shift 3
		echo "$$ $start" >"$file.new"
		mv "$file.new" "$file"
		exec "$@"' spawn "$LAB_DIR/run/$name" "$@" >>"$LAB_DIR/log/$name.log" 2>&1 </dev/null &
	for _ in {1..100}; do
		[ -s "$LAB_DIR/run/$name" ] && return 0
		sleep 0.02
	done
	echo "lab: $name did not start" >&2
	return 1
}

# Prints a daemon's pid, if the process of that pid is still the one that was started.
daemon_pid() {
	local pid start stat fields
	[ -e "$LAB_DIR/run/$1" ] || return 1
	read -r pid start <"$LAB_DIR/run/$1" || return 1
	stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
	read -r -a fields <<<"${stat##*) }"
	[ "${fields[19]}" = "$start" ] && [ "${fields[0]}" != Z ] && echo "$pid"
}

# One root, one leaf for every public name of the lab; the attacker's leaf is signed by nobody.
certificates() {
	local d=$LAB_DIR/tls san='' n
	mkdir -p "$d"
	for n in pypi.org files.pythonhosted.org bedrock-runtime.us-west-2.amazonaws.com \
		sts.us-west-2.amazonaws.com blocked-example.example.com dns.google; do
		san+="${san:+,}DNS:$n"
	done
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=Sluice lab CA $LAB_NAME" \
		-addext keyUsage=critical,keyCertSign -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=lab" -keyout "$d/leaf.key" \
		-out "$d/leaf.csr" 2>/dev/null
	openssl x509 -req -in "$d/leaf.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 2 -out "$d/leaf.pem" \
		-extfile <(printf 'subjectAltName=%s\n' "$san") 2>/dev/null
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=pypi.org" \
		-addext subjectAltName=DNS:pypi.org -keyout "$d/attacker.key" -out "$d/attacker.pem" 2>/dev/null
}

# nginx's block for STS. The body of a request, the token in it above all, goes to log/sts-requests.log.
sts_server() {
	[ -z "${LAB_STS_PORT:-}" ] || cat <<-END
		  server { listen 443 ssl; listen [::]:443 ssl; server_name sts.us-west-2.amazonaws.com;
		    access_log $LAB_DIR/log/sts-requests.log sts; client_body_buffer_size 64k;
		    location / { proxy_pass http://127.0.0.1:$LAB_STS_PORT; proxy_set_header Host \$host; } }
	END
}

web_up() {
	local d=$LAB_DIR/nginx
	mkdir -p "$d/empty"
	python3 "$lab_tools/index.py" "$LAB_DIR/www"
	cat >"$d/nginx.conf" <<-END
		daemon off; user root; pid $d/nginx.pid; worker_processes 1; error_log $LAB_DIR/log/nginx-error.log;
		events { worker_connections 512; }
		http {
		  log_format lab '\$msec \$remote_addr \$server_addr \$ssl_server_name "\$request" \$status';
		  log_format sts '\$remote_addr \$status \$request_body';
		  access_log $LAB_DIR/log/web.log lab;
		  client_body_temp_path $d; proxy_temp_path $d; fastcgi_temp_path $d; uwsgi_temp_path $d; scgi_temp_path $d;
		  ssl_certificate $LAB_DIR/tls/leaf.pem; ssl_certificate_key $LAB_DIR/tls/leaf.key;
		  keepalive_timeout 600s; keepalive_requests 100000;
		  server { listen 443 ssl default_server; listen [::]:443 ssl default_server;
		    location / { default_type text/plain; return 200 "a live server of the lab's internet\n"; } }
		  server { listen 443 ssl; listen [::]:443 ssl; server_name pypi.org;
		    root $LAB_DIR/www/pypi.org; location /simple/ { default_type text/html; index index.html; } }
		  server { listen 443 ssl; listen [::]:443 ssl; server_name files.pythonhosted.org;
		    root $LAB_DIR/www/files.pythonhosted.org; }
		  server { listen 443 ssl; listen [::]:443 ssl; server_name bedrock-runtime.us-west-2.amazonaws.com;
		    location / { proxy_pass http://127.0.0.1:8090; } }
		$(sts_server)
		  server { listen 443 ssl; listen [::]:443 ssl; server_name blocked-example.example.com;
		    location / { default_type text/plain; return 200 "blocked-example is alive\n"; } }
		  server { listen 6.6.6.6:443 ssl; listen [2001:db8:666::6]:443 ssl;
		    ssl_certificate $LAB_DIR/tls/attacker.pem; ssl_certificate_key $LAB_DIR/tls/attacker.key;
		    location / { default_type text/plain; return 200 "attacker\n"; } }
		}
	END
	spawn internet nginx nginx -e "$LAB_DIR/log/nginx-error.log" -c "$d/nginx.conf"
	spawn internet bedrock python3 "$lab_tools/bedrock.py" 8090
	spawn internet echo python3 "$lab_tools/echo.py" 7000
}

records() { # ADDRESS-OF-PYPI4 ADDRESS-OF-PYPI6: what the world's name servers say
	cat <<-END
		@ 60 SOA ns.lab. hostmaster.lab. 1 3600 600 86400 5
		@ 60 NS ns.lab.
		ns.lab. 60 A $UPSTREAM4
		pypi.org. 60 A $1
		pypi.org. 60 AAAA $2
		files.pythonhosted.org. 60 CNAME dualstack.python.map.fastly.example.net.
		dualstack.python.map.fastly.example.net. 60 A 203.0.113.11
		dualstack.python.map.fastly.example.net. 60 AAAA 2001:db8:113::11
		bedrock-runtime.us-west-2.amazonaws.com. 60 A 198.51.100.20
		bedrock-runtime.us-west-2.amazonaws.com. 60 AAAA 2001:db8:100::20
		sts.us-west-2.amazonaws.com. 60 A 198.51.100.20
		sts.us-west-2.amazonaws.com. 60 AAAA 2001:db8:100::20
		blocked-example.example.com. 60 A 192.0.2.44
		blocked-example.example.com. 60 AAAA 2001:db8:2::44
		echo.example.com. 60 A 198.51.100.30
		echo.example.com. 60 AAAA 2001:db8:100::30
		attacker.example. 60 A 6.6.6.6
		*.attacker.example. 60 A 6.6.6.6
		*.attacker.example. 60 AAAA 2001:db8:666::6
	END
}

knot_up() { # NS NAME ADDRESS-OF-PYPI4 ADDRESS-OF-PYPI6 LISTEN…
	local ns=$1 name=$2 pypi4=$3 pypi6=$4 d=$LAB_DIR/$2 a
	shift 4
	mkdir -p "$d"
	records "$pypi4" "$pypi6" >"$d/root.zone"
	{
		echo "server:"
		echo "    rundir: $d"
		echo "    pidfile: $d/knot.pid"
		echo "    tcp-workers: 1"
		echo "    udp-workers: 1"
		echo "    background-workers: 1"
		for a in "$@"; do echo "    listen: $a@53"; done
		printf 'log:\n  - target: stderr\n    any: info\n'
		printf 'database:\n    storage: %s\n' "$d"
		printf 'zone:\n  - domain: .\n    file: %s/root.zone\n    journal-content: none\n    semantic-checks: off\n' "$d"
	} >"$d/knot.conf"
	spawn "$ns" "$name" knotd -c "$d/knot.conf"
}

unbound_up() {
	local d=$LAB_DIR/unbound
	mkdir -p "$d"
	cat >"$d/unbound.conf" <<-END
		server:
		  interface: $KUBE_DNS4
		  interface: $KUBE_DNS6
		  access-control: 0.0.0.0/0 allow
		  access-control: ::/0 allow
		  do-daemonize: no
		  use-syslog: no
		  logfile: ""
		  log-queries: yes
		  log-time-ascii: no
		  username: ""
		  chroot: ""
		  directory: "$d"
		  pidfile: "$d/unbound.pid"
		  num-threads: 1
		  module-config: "iterator"
		  local-zone: "example." nodefault
		  prefetch: no
		  so-reuseport: no
		remote-control:
		  control-enable: no
		stub-zone:
		  name: "."
		  stub-addr: $UPSTREAM4
		  stub-prime: no
	END
	spawn dns unbound unbound -d -c "$d/unbound.conf"
}

# $1 seconds at most, then a command until it succeeds.
await() {
	local i n=$(($1 * 20))
	shift
	for ((i = 0; i < n; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	echo "lab: gave up waiting for: $*" >&2
	return 1
}

resolves() { # NS SERVER ADDRESS
	[ "$(in_ns "$1" kdig +short +time=1 +retry=0 @"$2" pypi.org A)" = "$3" ]
}

serves() { # ADDRESS
	in_ns internet env -i PATH="$PATH" curl -sf --cacert "$LAB_DIR/tls/ca.pem" --resolve "pypi.org:443:$1" \
		https://pypi.org/simple/lab-greeting/
}

services_up() {
	certificates
	web_up
	knot_up dns authority 203.0.113.10 2001:db8:113::10 $UPSTREAM4 $UPSTREAM6
	# The attacker's resolver, and 8.8.8.8 played by it too: an answer of theirs opens the attacker's address.
	knot_up internet rogue 6.6.6.6 2001:db8:666::6 8.8.8.8 2001:4860:4860::8888 6.6.6.6 2001:db8:666::6
	unbound_up
	await 15 resolves dns $UPSTREAM4 203.0.113.10
	await 15 resolves node $KUBE_DNS4 203.0.113.10
	await 15 resolves internet 8.8.8.8 6.6.6.6
	await 15 serves 203.0.113.10
}
