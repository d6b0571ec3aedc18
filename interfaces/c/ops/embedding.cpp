#include "ophis/ops/embedding.hpp"

#include "interfaces/c/src/op.hpp"

namespace ophis::c {

template <>
struct Mapping<ophis_embedding_args> {
  using From = ophis_embedding_args;
  using To = EmbeddingArgs;
  static constexpr std::tuple members{OPHIS_C_MEMBER(ids), OPHIS_C_MEMBER(weight),
                                      OPHIS_C_MEMBER(weight_scale), OPHIS_C_MEMBER(weight_shift),
                                      OPHIS_C_MEMBER(out)};
};

}  // namespace ophis::c

ophis_status ophis_embedding_args_init(ophis_embedding_args* args, size_t size) {
  return ophis::c::init_args(__func__, args, size);
}

ophis_status ophis_embedding(ophis_context* context, const ophis_embedding_args* args) {
  return ophis::c::run_op(__func__, context, args, ophis::embedding);
}
