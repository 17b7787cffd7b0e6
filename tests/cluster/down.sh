# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The end of a cluster. All its processes are below one pid namespace, all its mounts and links in namespaces that end with
# them; what is left is cgroups, one setting of the machine, and one folder. Sourced by tools/cluster and init.

# Containers on two nodes need more of these than a machine's default of 128, which all of root's processes share.
inotify=/proc/sys/fs/inotify/max_user_instances
inotify_wanted=1024

machine_prepare() {
	local now
	now=$(<$inotify)
	[ "$now" -lt $inotify_wanted ] || return 0
	echo "$now" >"$dir/inotify"
	echo $inotify_wanted >$inotify
}

# Puts the setting back, unless someone else has set it meanwhile.
machine_restore() {
	[ -s "$dir/inotify" ] || return 0
	[ "$(<$inotify)" != $inotify_wanted ] || cat "$dir/inotify" >$inotify
}

# A cgroup is busy until its last process has been reaped.
cgroups_gone() {
	local h status=0
	for h in $(hierarchies); do
		[ -d "$h/$cgroup" ] || continue
		find "$h/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || status=1
	done
	return $status
}

folder_gone() { rm -rf --one-file-system "$dir" 2>/dev/null && [ ! -e "$dir" ]; }

leave_nothing() {
	machine_restore
	await 20 cgroups_gone || die "cgroups $cgroup stay in use"
	await 20 folder_gone || die "$dir cannot be removed: $(rm -rf --one-file-system "$dir" 2>&1 | head -n 1)"
}

init_gone() { ! recorded_pid "$dir/init"; }

cluster_down() {
	local pid
	if pid=$(recorded_pid "$dir/init"); then
		kill -KILL "$pid"
		await 30 init_gone || die "process $pid does not end"
	fi
	[ ! -e "$dir" ] || leave_nothing
}
