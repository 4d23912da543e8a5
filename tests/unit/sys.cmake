# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_log SOURCES t_log.c LINK gm_sys)
gm_add_test(NAME t_service_manager SOURCES t_service_manager.c LINK gm_sys)
gm_add_test(NAME t_sandbox SOURCES t_sandbox.c LINK gm_sys Threads::Threads)
gm_add_test(NAME t_cgroup SOURCES t_cgroup.c LINK gm_cgroup)
gm_add_test(NAME t_closer SOURCES t_closer.c LINK gm_sys)
target_link_options(t_closer PRIVATE LINKER:--wrap=gm_fd_close)
