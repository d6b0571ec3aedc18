// Names of models, without a hub; tests/hub/hub_test.py has the rest.
#include <doctest/doctest.h>

#include "ophis/hub/resolve_model.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ophis;

TEST_CASE("hub: what is an id") {
  for (const char* id : {"state-spaces/mamba-130m-hf", "a/b", "A_1/b.c-d", "state-spaces/mamba2-2.7b@main",
                         "a/b@refs/pr/1", "a/b@0123456789abcdef0123456789abcdef01234567", "a/b@v1.0"}) {
    INFO(id);
    CHECK(is_hub_id(id));
  }
  for (const char* other : {"",
                            "/",
                            "a",
                            "a/",
                            "/b",
                            "a/b/c",
                            "./a",
                            "../a",
                            "a/..",
                            "a/.b",
                            "a/b.",
                            "-a/b",
                            "a/b-",
                            "a--x/b",
                            "a/b..c",
                            "a b/c",
                            "a/b?c",
                            "a/b#c",
                            "a/b%2e",
                            "a\\b/c",
                            "a/b.git",
                            "a/b@",
                            "a/b@/",
                            "a/b@x//y",
                            "a/b@..",
                            "a/b@x/../y",
                            "a/b@x y",
                            "~/b",
                            "mod\xc3\xa8le/a",
                            "a/b\n"}) {
    INFO(other);
    CHECK_FALSE(is_hub_id(other));
  }
  CHECK_FALSE(is_hub_id("a/" + std::string(97, 'b')));
}

TEST_CASE("hub: a folder or file is itself") {
  const test::TemporaryFolder folder;
  const std::string file = folder.write("tokenizer.json", "{}").string();
  CHECK(resolve_model(file) == file);
  CHECK(resolve_model(folder.path().string(), {.files = ModelFiles::tokenizer}) == folder.path());
  test::expect_error(ErrorCode::invalid_argument, {"has no revision 'v1'"},
                     [&] { resolve_model(file, {.revision = "v1"}); });
  test::expect_error(ErrorCode::not_found, {"there is no folder 'no/such/model'"},
                     [] { resolve_model("no/such/model"); });
  test::expect_error(ErrorCode::not_found, {"there is no folder ''"}, [] { resolve_model(""); });
}
