# What policies cost: bench/policy/bench.c prints a table. The test is a short run that only shows that all of it works.
add_executable(bench-policy policy/bench.c)
target_link_libraries(bench-policy PRIVATE policy base)
if(NOT SLUICE_SANITIZE)
  add_test(NAME bench-policy COMMAND bench-policy --quick)
  set_tests_properties(bench-policy PROPERTIES LABELS bench TIMEOUT 60)
endif()
# What a pass over a node's endpoints costs after one change: bench/policy/pass.c.
add_executable(bench-pass policy/pass.c)
target_link_libraries(bench-pass PRIVATE policy base)
if(NOT SLUICE_SANITIZE)
  add_test(NAME bench-pass COMMAND bench-pass --quick)
  set_tests_properties(bench-pass PROPERTIES LABELS bench TIMEOUT 60)
endif()
