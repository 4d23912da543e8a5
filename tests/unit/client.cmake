# SPDX-License-Identifier: Apache-2.0
foreach(part connect call domain job list)
	gm_add_test(NAME t_client_${part} SOURCES t_client_${part}.c client_server.c
		LINK gm_client Threads::Threads LABELS threads)
endforeach()
foreach(part launch loop private reconnect return standing)
	gm_add_test(NAME t_client_${part} SOURCES t_client_${part}.c client_outage.c client_server.c
		LINK gm_client Threads::Threads LABELS threads)
endforeach()
gm_add_test(NAME t_client_builtin SOURCES t_client_builtin.c LINK gm_client)
set_tests_properties(t_client_builtin PROPERTIES RESOURCE_LOCK hugepages)
