// Several threads with contexts of their own: models each their own or shared, ops, tokenizers, errors. Every
// thread must get what one thread alone gets; on the CPU, or the device that OPHIS_TEST_DEVICE names.
// Argument: the folder of the bundled models.
#include <ophis.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> failures{0};

void check(bool condition, const char* what) {
  if (condition) return;
  std::printf("not so: %s; %s\n", what, ophis_last_error());
  ++failures;
}
void check_ok(ophis_status status) { check(status == OPHIS_OK, ophis_status_name(status)); }

constexpr ophis_device cpu{OPHIS_DEVICE_CPU, 0};
ophis_device test_device() {
  const char* const name = std::getenv("OPHIS_TEST_DEVICE");
  ophis_device device = cpu;
  if (name) check_ok(ophis_device_parse(name, &device));
  return device;
}

constexpr int rounds = 3, new_tokens = 5;
using Ids = std::array<std::int32_t, new_tokens>;

Ids generate(const ophis_model* model, const ophis_tokenizer* tokenizer) {
  ophis_context* context = nullptr;
  check_ok(ophis_context_create(test_device(), nullptr, &context));
  std::int32_t* prompt = nullptr;
  std::int64_t length = 0, count = 0;
  const std::string text = "ROMEO: ";
  check_ok(ophis_tokenizer_encode(tokenizer, text.data(), text.size(), 1, &prompt, &length));
  ophis_generation_options options;
  check_ok(ophis_generation_options_init(&options, sizeof options));
  options.max_new_tokens = new_tokens;
  options.ignore_eos = 1;
  Ids ids{};
  check_ok(ophis_generate(model, context, &prompt, &length, 1, &options, ids.data(), &count, nullptr));
  check(count == new_tokens, "all tokens came");
  ophis_free(prompt);
  ophis_context_destroy(context);
  return ids;
}

struct Loaded {
  explicit Loaded(const std::string& folder) {
    ophis_load_options options;
    check_ok(ophis_load_options_init(&options, sizeof options));
    options.device = test_device();
    check_ok(ophis_model_load(folder.c_str(), &options, &model));
    check_ok(ophis_tokenizer_load(folder.c_str(), &tokenizer));
  }
  ~Loaded() {
    ophis_tokenizer_destroy(tokenizer);
    ophis_model_destroy(model);
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  ophis_model* model = nullptr;
  ophis_tokenizer* tokenizer = nullptr;
};

/// Cumulative sums of a row as long as two chunks of the kernel, right to the last.
void sum_ones() {
  ophis_context* context = nullptr;
  check_ok(ophis_context_create(test_device(), nullptr, &context));
  std::vector<std::int64_t> ones(1000, 1);
  const std::int64_t shape[] = {1000};
  const ophis_tensor host{ones.data(), cpu, 1, {OPHIS_CODE_INT, 64, 1}, shape, nullptr, 0};
  ophis_tensor* x = nullptr;
  check_ok(ophis_tensor_create(test_device(), host.dtype, 1, shape, &x));
  check_ok(ophis_copy(context, &host, x));
  ophis_cumsum_args args;
  check_ok(ophis_cumsum_args_init(&args, sizeof args));
  args.x = args.out = x;
  check_ok(ophis_cumsum(context, &args));
  check_ok(ophis_copy(context, x, &host));
  check_ok(ophis_context_synchronize(context));
  ophis_tensor_destroy(x);
  check(ones.back() == 1000, "the sum is right");
  ophis_context_destroy(context);
}

/// The text of an error is the thread's own.
void fail_with(int number) {
  const std::string name = "device-" + std::to_string(number);
  ophis_device device;
  check(ophis_device_parse(name.c_str(), &device) == OPHIS_INVALID_ARGUMENT, "the device is unknown");
  std::this_thread::yield();
  check(std::string(ophis_last_error()).find("'" + name + "'") != std::string::npos,
        "the error is this thread's");
}

void run_thread(int number, const std::string& folder, const Loaded& shared, const Ids& wanted) {
  const Loaded own(folder);
  for (int round = 0; round < rounds; ++round) {
    check(generate(shared.model, shared.tokenizer) == wanted, "the shared model gives the same ids");
    check(generate(own.model, own.tokenizer) == wanted, "the thread's model gives the same ids");
    sum_ones();
    fail_with(number);
    char* info = nullptr;
    check_ok(ophis_build_info(&info));
    ophis_free(info);
  }
}

/// Calls `body` with the numbers of four threads, in these.
template <class Body>
void in_threads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  in_threads([](int) { sum_ones(); });  // the first contexts of the process
  for (const char* const name : {"mamba-tiny", "mamba2-tiny"}) {
    const std::string folder = std::string(argv[1]) + "/" + name;
    const Loaded shared(folder);
    const Ids wanted = generate(shared.model, shared.tokenizer);
    in_threads([&](int number) { run_thread(number, folder, shared, wanted); });
  }
  return failures == 0 ? 0 : 1;
}
