# The DNS proxy's whole path (dns/README.md).
sluice_lab_test(dns-evasions dns_evasions.sh)
sluice_lab_test(dns-hazards dns_hazards.sh)
sluice_lab_test(dns-resolvers dns_resolvers.sh)
sluice_lab_test(dns-restart dns_restart.sh)
sluice_lab_test(dns-flood dns_flood.sh)

# Losses and latencies are looked at: nothing else may take the processors meanwhile.
set_tests_properties(lab-dns-restart lab-dns-flood PROPERTIES RUN_SERIAL TRUE)
if(SLUICE_RELEASE_BUILD)
  set_tests_properties(lab-release-dns-restart lab-release-dns-flood PROPERTIES RUN_SERIAL TRUE)
endif()
