#include "ophis/ops/sample.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_sample_args> {
  using From = ophis_sample_args;
  using To = SampleArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(logits),
                                      OPHIS_C_MEMBER(temperature),
                                      OPHIS_C_MEMBER(top_k),
                                      OPHIS_C_MEMBER(top_p),
                                      OPHIS_C_MEMBER(min_p),
                                      OPHIS_C_MEMBER(repetition_penalty),
                                      OPHIS_C_MEMBER(presence_penalty),
                                      OPHIS_C_MEMBER(frequency_penalty),
                                      OPHIS_C_MEMBER(prompt_counts),
                                      OPHIS_C_MEMBER(seed),
                                      OPHIS_C_MEMBER(sequence),
                                      OPHIS_C_MEMBER(position),
                                      OPHIS_C_MEMBER(counts),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_sample_args_init(ophis_sample_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_sample(ophis_context* context, const ophis_sample_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::sample);
}
