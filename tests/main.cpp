#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

/// The address sanitizer asks for its options here: an allocation that fails is to return, as it does without
/// the sanitizer.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

int main(int argc, char** argv) { return doctest::Context(argc, argv).run(); }
