#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh SERIES BIN TEST...: boots Debian's kernel of a series (6.1, 6.12) under qemu and runs the programs BIN/TEST in
# it, and the scripts of tests/lab for a TEST that ends in .sh, on this machine's own root, read-only. Exit 0: all passed; 1: one failed, or the kernel did not come up; 77: qemu
# or the kernel package cannot be had here.
#
# Kernels are kept under ${XDG_CACHE_HOME:-~/.cache}/sluice/kernels/SERIES. Remove the folder to fetch a newer one.
# Emulation only (TCG): verdicts and the verifier's answers mean something there, timings do not.
set -eu

[ $# -ge 3 ] || {
	echo "usage: run.sh SERIES BIN TEST..." >&2
	exit 2
}
series=$1
bin=$(realpath "$2")
shift 2
here=$(dirname "$(realpath "$0")")
limit=${SLUICE_KERNELS_SECONDS:-900}
work=$(mktemp -d)
qemu=

clean_up() {
	if [ -n "$qemu" ]; then
		kill "$qemu" 2>/dev/null || :
	fi
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# shellcheck source=tests/kernels/lib.sh
. "$here/lib.sh"

boot() {
	# One thread for both processors: with two, emulated kernels that patch their own code now and then hit the half-patched
	# instruction ("Oops: int3" while booting).
	# no_timer_check: beside much other work the timer's ticks are too late for 6.1, which would not boot.
	timeout "$limit" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 1024 -nodefaults -no-reboot \
		-display none -serial "file:$work/console" -kernel "$cache/$series/boot/vmlinuz-$release" \
		-initrd "$work/initramfs.gz" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check sluice.bin=$bin sluice.lab=$(dirname "$here")/lab sluice.tests=$(echo "$*" | tr ' ' ,) end" \
		-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
		-device virtio-9p-pci,fsdev=root,mount_tag=root &
	qemu=$!
	wait "$qemu" || echo "qemu ended with $?"
	qemu=
}

prepare_kernel
make_initramfs "$here/init.sh"
boot "$@"
tr -d '\r' <"$work/console"
failed=0
for test in "$@"; do
	grep -q "sluice-kernels: result $test 0" "$work/console" || {
		echo "FAILED on $release: $test"
		failed=1
	}
done
[ "$failed" = 1 ] || echo "passed on $release: $*"
exit "$failed"
