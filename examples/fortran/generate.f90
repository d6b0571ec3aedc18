! Prints the most probable next token after a text, and continues it one token after the other, by a forward pass and steps: generate FOLDER [PROMPT [NEW_TOKENS]]
program generate
  use ophis
  implicit none

  type(c_ptr) :: context, model, tokenizer, cache, text
  character(len=:), allocatable :: folder, prompt, count
  integer(c_int32_t), allocatable, target :: ids(:)
  integer(c_int64_t), target :: next(1)
  integer(c_int64_t) :: prompt_length, length
  integer(c_size_t) :: text_bytes
  real(c_float), allocatable, target :: logits(:)
  integer(c_int64_t), target :: next_shape(1), logits_shape(2)
  type(ophis_tensor) :: next_tensor, logits_tensor
  type(ophis_load_options) :: load
  character(len=20) :: number
  integer :: new_tokens, i

  folder = argument(1, 'examples/models/mamba2-tiny')
  prompt = argument(2, 'JULIET:')
  count = argument(3, '60')
  read (count, *) new_tokens

  call check(ophis_context_create(ophis_device(), c_null_ptr, context))
  load%size = c_sizeof(load)
  load%dtype = ophis_dtype()  ! float32
  call check(ophis_model_load(folder//c_null_char, load, model))
  call check(ophis_tokenizer_load(folder//c_null_char, tokenizer))
  call check(ophis_cache_create(model, 1_c_int64_t, c_null_ptr, cache))
  call encode_prompt()
  call read_prompt()

  write (number, '(f20.4)') maxval(logits)
  print '(a,i0,a)', 'most probable next: ', maxloc(logits) - 1, ' ('//trim(adjustl(number))//')'

  next_shape = 1
  logits_shape = [1_c_int64_t, size(logits, kind=c_int64_t)]
  next_tensor = ophis_tensor(data=c_loc(next), ndim=1, dtype=ophis_dtype(ophis_code_int, 64_c_int8_t, 1_c_int16_t), &
                             shape=c_loc(next_shape))
  logits_tensor = ophis_tensor(data=c_loc(logits), ndim=2, shape=c_loc(logits_shape))
  length = prompt_length
  do i = 1, new_tokens
    next = maxloc(logits) - 1  ! ids count from 0
    length = length + 1
    ids(length) = int(next(1), c_int32_t)
    if (i < new_tokens) call check(ophis_model_step(model, context, next_tensor, cache, logits_tensor))
  end do

  call check(ophis_tokenizer_decode(tokenizer, ids, length, 1, text, text_bytes))
  print '(a)', text_at(text)
  call ophis_free(text)
  call ophis_cache_destroy(cache)
  call ophis_tokenizer_destroy(tokenizer)
  call ophis_model_destroy(model)
  call ophis_context_destroy(context)

contains

  ! One argument of the command line.
  function argument(number, otherwise) result(value)
    integer, intent(in) :: number
    character(len=*), intent(in) :: otherwise
    character(len=:), allocatable :: value
    integer :: length
    value = otherwise
    if (command_argument_count() < number) return
    call get_command_argument(number, length=length)
    deallocate (value)
    allocate (character(len=length) :: value)
    call get_command_argument(number, value)
  end function

  subroutine encode_prompt()
    type(c_ptr) :: memory
    integer(c_int32_t), pointer :: prompt_ids(:)
    call check(ophis_tokenizer_encode(tokenizer, prompt, len(prompt, c_size_t), 1, memory, prompt_length))
    call c_f_pointer(memory, prompt_ids, [prompt_length])
    allocate (ids(prompt_length + new_tokens))
    ids(:prompt_length) = prompt_ids
    call ophis_free(memory)
  end subroutine

  ! The logits after the whole prompt; the cache remembers it.
  subroutine read_prompt()
    type(ophis_forward_args) :: args
    type(ophis_tensor), target :: input
    type(ophis_tensor), pointer :: last
    type(c_ptr) :: output, tensor
    integer(c_int64_t), target :: shape(2)
    integer(c_int64_t), pointer :: extents(:)
    real(c_float), pointer :: values(:)
    shape = [1_c_int64_t, prompt_length]
    input = ophis_tensor(data=c_loc(ids), ndim=2, shape=c_loc(shape), &
                         dtype=ophis_dtype(ophis_code_int, 32_c_int8_t, 1_c_int16_t))
    call check(ophis_forward_args_init(args, c_sizeof(args)))
    args%input_ids = c_loc(input)
    args%cache = cache
    args%logits_to_keep = 1
    call check(ophis_model_forward(model, context, args, output))
    call check(ophis_output_logits(output, tensor))
    call c_f_pointer(tensor, last)
    call c_f_pointer(last%shape, extents, [last%ndim])
    call c_f_pointer(last%data, values, [extents(3)])
    logits = values
    call ophis_output_destroy(output)
  end subroutine
end program
