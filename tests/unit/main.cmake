# SPDX-License-Identifier: Apache-2.0
set(GM_MAIN ${PROJECT_SOURCE_DIR}/daemon/main)
gm_add_test(NAME t_opts SOURCES t_opts.c ${GM_MAIN}/opts.c LINK gm_cgroup gm_sys gm_wire LABELS unit)
gm_add_test(NAME t_tenants
	SOURCES t_tenants.c ${GM_MAIN}/opts.c ${GM_MAIN}/policies.c ${GM_MAIN}/policy_file.c
		${GM_MAIN}/tenants.c
	LINK gm_cgroup gm_conf gm_core gm_sys gm_transport gm_wire LABELS unit)
target_include_directories(t_opts PRIVATE ${GM_MAIN})
target_include_directories(t_tenants PRIVATE ${GM_MAIN} ${PROJECT_SOURCE_DIR}/daemon/rpc)
