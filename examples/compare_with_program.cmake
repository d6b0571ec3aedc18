# cmake -DPROGRAM=ophis -DMODEL=FOLDER -DEXAMPLE=COMMAND -P compare_with_program.cmake: EXAMPLE FOLDER PROMPT NEW_TOKENS
# prints the logit that `ophis logits` does, and the text that `ophis generate` does.
foreach(prompt IN ITEMS "KING HENRY V\t" "To be, or not to be")
  execute_process(COMMAND ${PROGRAM} tokenize --model ${MODEL} ${prompt} OUTPUT_VARIABLE ids COMMAND_ERROR_IS_FATAL ANY)
  string(STRIP "${ids}" ids)
  execute_process(COMMAND ${PROGRAM} logits --model ${MODEL} --ids ${ids} --logits-to-keep 1 --out ${FILE}
                  OUTPUT_VARIABLE next ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE ${FILE})
  string(REGEX MATCH "most probable next: [0-9]+ .*" next "${next}")
  execute_process(COMMAND ${PROGRAM} generate --model ${MODEL} --prompt ${prompt} --max-new-tokens 40
                  OUTPUT_VARIABLE text ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${EXAMPLE} ${MODEL} ${prompt} 40 OUTPUT_VARIABLE got COMMAND_ERROR_IS_FATAL ANY)
  # The program ends its output with a line break only where the text does not.
  string(STRIP "${next}${text}" wanted)
  string(STRIP "${got}" got)
  if(next STREQUAL "" OR NOT got STREQUAL wanted)
    message(FATAL_ERROR "it prints:\n${got}\nbut `ophis`:\n${wanted}")
  endif()
  message(STATUS "as `ophis`:\n${got}")
endforeach()
