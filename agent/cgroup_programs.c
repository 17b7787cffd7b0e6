/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * One link per program and cgroup, pinned, so that all stays when the agent ends; a link ends with its cgroup. Links let
 * other programs on the same cgroup be, and no program of the cgroup's own can take them off. A link of an earlier agent
 * is updated to the present program in one step.
 *
 * `attached` is storage that the kernel makes, zeroed, with the first program on a cgroup and shares among all of them:
 * zeros are nobody's, which is quarantine.
 */
#include "agent/cgroup_programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cgroup.skel.h"
#include "veth.skel.h"

static int prepare_map(const struct kernel *k, struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	struct bpf_map *shared = bpf_object__find_map_by_name(k->skel->obj, name);
	char path[PATH_MAX];

	if (strcmp(name, "slots") == 0 || strcmp(name, "work") == 0 || bpf_map__is_internal(map))
		return 0;
	if (shared)
		return bpf_map__reuse_fd(map, bpf_map__fd(shared));
	if (snprintf(path, sizeof(path), "%s/%s", k->pin_path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return bpf_map__set_pin_path(map, path);
}

int cgroup_programs_open(struct kernel *k)
{
	struct cgroup_bpf *skel = cgroup_bpf__open();
	struct bpf_map *map;
	int r = skel ? 0 : -errno;

	if (!skel)
		return r;
	bpf_object__for_each_map(map, skel->obj)
	{
		if (r == 0)
			r = prepare_map(k, map);
	}
	if (r == 0)
		r = cgroup_bpf__load(skel);
	if (r < 0) {
		log_error("the programs of cgroup endpoints cannot be loaded: %s", strerror(-r));
		cgroup_bpf__destroy(skel);
		return r;
	}
	k->cgroup = skel;
	return 0;
}

void cgroup_programs_close(struct kernel *k)
{
	cgroup_bpf__destroy(k->cgroup);
	k->cgroup = NULL;
}

static int link_path(const struct kernel *k, uint64_t id, const char *hook, char *buf, size_t size)
{
	return snprintf(buf, size, "%s/links/" SLUICE_CGROUP_LINK, k->pin_path, (unsigned long long)id, hook) <
			       (int)size
		       ? 0
		       : -ENAMETOOLONG;
}

static int link_info(int fd, uint64_t *ret_cgroup, uint32_t *ret_program)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	*ret_cgroup = info.cgroup.cgroup_id;
	*ret_program = info.prog_id;
	return 0;
}

static uint32_t program_id(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len) == 0 ? info.id : 0;
}

static int attach_one(const struct kernel *k, const struct bpf_program *prog, int cgroup, uint64_t id)
{
	_cleanup_close_ int fd = -1, link = -1;
	uint64_t there = 0;
	uint32_t program = 0;
	char path[PATH_MAX];
	int r = link_path(k, id, bpf_program__name(prog), path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd >= 0 && link_info(fd, &there, &program) == 0 && there == id)
		return program == program_id(prog) || bpf_link_update(fd, bpf_program__fd(prog), NULL) == 0 ? 0
													    : -errno;
	if (fd >= 0)
		unlink(path);
	link = bpf_link_create(bpf_program__fd(prog), cgroup, bpf_program__expected_attach_type(prog), NULL);
	if (link < 0)
		return -errno;
	return bpf_obj_pin(link, path) < 0 ? -errno : 0;
}

int cgroup_programs_shut(const struct kernel *k, const char *path, uint64_t id)
{
	_cleanup_close_ int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *prog;

	if (!k->cgroup)
		return -EOPNOTSUPP;
	if (cgroup < 0)
		return -errno;
	bpf_object__for_each_program(prog, k->cgroup->obj)
	{
		int r = attach_one(k, prog, cgroup, id);

		if (r < 0)
			return r;
	}
	return 0;
}

int cgroup_programs_attach(struct kernel *k, const char *path, uint64_t id, const struct sluice_if *owner)
{
	int r = cgroup_programs_shut(k, path, id);

	if (r < 0)
		return r;
	return bpf_map_update_elem(bpf_map__fd(k->cgroup->maps.attached), &id, owner, BPF_ANY) < 0 ? -errno : 0;
}

void cgroup_programs_detach(struct kernel *k, uint64_t id)
{
	struct bpf_program *prog;

	if (!k->cgroup)
		return;
	bpf_object__for_each_program(prog, k->cgroup->obj)
	{
		_cleanup_close_ int fd = -1;
		char path[PATH_MAX];

		if (link_path(k, id, bpf_program__name(prog), path, sizeof(path)) < 0)
			continue;
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		bpf_link_detach(fd);
		unlink(path);
	}
}

int cgroup_programs_attached(const struct kernel *k, uint64_t id)
{
	struct bpf_program *prog;

	if (!k->cgroup)
		return -EOPNOTSUPP;
	bpf_object__for_each_program(prog, k->cgroup->obj)
	{
		_cleanup_close_ int fd = -1;
		uint64_t there = 0;
		uint32_t program = 0;
		char path[PATH_MAX];
		int r = link_path(k, id, bpf_program__name(prog), path, sizeof(path));

		if (r < 0)
			return r;
		fd = bpf_obj_get(path);
		if (fd < 0)
			return errno == ENOENT ? 0 : -errno;
		r = link_info(fd, &there, &program);
		if (r < 0 || there != id || program != program_id(prog))
			return r < 0 ? r : 0;
	}
	return 1;
}
