! The part of ophis.h that the example uses, in Fortran's terms.
module ophis
  use, intrinsic :: iso_c_binding
  implicit none

  integer(c_int32_t), parameter :: ophis_ok = 0, ophis_device_cpu = 1
  integer(c_int8_t), parameter :: ophis_code_int = 0, ophis_code_float = 2

  type, bind(c) :: ophis_device
    integer(c_int32_t) :: device_type = ophis_device_cpu
    integer(c_int32_t) :: device_id = 0
  end type

  type, bind(c) :: ophis_dtype
    integer(c_int8_t) :: code = ophis_code_float
    integer(c_int8_t) :: bits = 32
    integer(c_int16_t) :: lanes = 1
  end type

  ! An array of Fortran's has its first axis dense. Without strides it is, for Ophis, the one with its axes reversed.
  type, bind(c) :: ophis_tensor
    type(c_ptr) :: data = c_null_ptr
    type(ophis_device) :: device
    integer(c_int32_t) :: ndim = 0
    type(ophis_dtype) :: dtype
    type(c_ptr) :: shape = c_null_ptr
    type(c_ptr) :: strides = c_null_ptr
    integer(c_int64_t) :: byte_offset = 0
  end type

  type, bind(c) :: ophis_load_options
    integer(c_size_t) :: size
    type(ophis_device) :: device
    type(ophis_dtype) :: dtype
    type(c_funptr) :: progress = c_null_funptr
    type(c_ptr) :: user_data = c_null_ptr
  end type

  type, bind(c) :: ophis_forward_args
    integer(c_size_t) :: size
    type(c_ptr) :: input_ids, inputs_embeds, attention_mask, labels, cache
    integer(c_int64_t) :: logits_to_keep
    integer(c_int32_t) :: output_hidden_states
    type(c_ptr) :: logits_positions
  end type

  interface
    function ophis_status_name(status) bind(c) result(name)
      import
      integer(c_int32_t), value :: status
      type(c_ptr) :: name
    end function
    function ophis_last_error() bind(c) result(text)
      import
      type(c_ptr) :: text
    end function
    subroutine ophis_free(memory) bind(c)
      import
      type(c_ptr), value :: memory
    end subroutine
    function ophis_context_create(device, native_stream, context) bind(c) result(status)
      import
      type(ophis_device), value :: device
      type(c_ptr), value :: native_stream
      type(c_ptr) :: context
      integer(c_int32_t) :: status
    end function
    subroutine ophis_context_destroy(context) bind(c)
      import
      type(c_ptr), value :: context
    end subroutine
    function ophis_model_load(folder, options, model) bind(c) result(status)
      import
      character(kind=c_char), intent(in) :: folder(*)
      type(ophis_load_options), intent(in) :: options
      type(c_ptr) :: model
      integer(c_int32_t) :: status
    end function
    subroutine ophis_model_destroy(model) bind(c)
      import
      type(c_ptr), value :: model
    end subroutine
    function ophis_tokenizer_load(path, tokenizer) bind(c) result(status)
      import
      character(kind=c_char), intent(in) :: path(*)
      type(c_ptr) :: tokenizer
      integer(c_int32_t) :: status
    end function
    subroutine ophis_tokenizer_destroy(tokenizer) bind(c)
      import
      type(c_ptr), value :: tokenizer
    end subroutine
    function ophis_tokenizer_encode(tokenizer, text, text_bytes, add_special_tokens, ids, num_ids) bind(c) result(status)
      import
      type(c_ptr), value :: tokenizer
      character(kind=c_char), intent(in) :: text(*)
      integer(c_size_t), value :: text_bytes
      integer(c_int32_t), value :: add_special_tokens
      type(c_ptr) :: ids
      integer(c_int64_t) :: num_ids
      integer(c_int32_t) :: status
    end function
    function ophis_tokenizer_decode(tokenizer, ids, num_ids, skip_special, text, text_bytes) bind(c) result(status)
      import
      type(c_ptr), value :: tokenizer
      integer(c_int32_t), intent(in) :: ids(*)
      integer(c_int64_t), value :: num_ids
      integer(c_int32_t), value :: skip_special
      type(c_ptr) :: text
      integer(c_size_t) :: text_bytes
      integer(c_int32_t) :: status
    end function
    function ophis_cache_create(model, batch, state_dtype, cache) bind(c) result(status)
      import
      type(c_ptr), value :: model
      integer(c_int64_t), value :: batch
      type(c_ptr), value :: state_dtype
      type(c_ptr) :: cache
      integer(c_int32_t) :: status
    end function
    subroutine ophis_cache_destroy(cache) bind(c)
      import
      type(c_ptr), value :: cache
    end subroutine
    function ophis_forward_args_init(args, size) bind(c) result(status)
      import
      type(ophis_forward_args) :: args
      integer(c_size_t), value :: size
      integer(c_int32_t) :: status
    end function
    function ophis_model_forward(model, context, args, output) bind(c) result(status)
      import
      type(c_ptr), value :: model, context
      type(ophis_forward_args), intent(in) :: args
      type(c_ptr) :: output
      integer(c_int32_t) :: status
    end function
    function ophis_output_logits(output, logits) bind(c) result(status)
      import
      type(c_ptr), value :: output
      type(c_ptr) :: logits
      integer(c_int32_t) :: status
    end function
    subroutine ophis_output_destroy(output) bind(c)
      import
      type(c_ptr), value :: output
    end subroutine
    function ophis_model_step(model, context, ids, cache, logits) bind(c) result(status)
      import
      type(c_ptr), value :: model, context
      type(ophis_tensor), intent(in) :: ids
      type(c_ptr), value :: cache
      type(ophis_tensor), intent(in) :: logits
      integer(c_int32_t) :: status
    end function
    function ophis_context_synchronize(context) bind(c) result(status)
      import
      type(c_ptr), value :: context
      integer(c_int32_t) :: status
    end function
  end interface

contains

  ! The text that C's pointer points to.
  function text_at(pointer) result(text)
    type(c_ptr), intent(in) :: pointer
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: characters(:)
    integer :: length, i
    call c_f_pointer(pointer, characters, [huge(0)])
    length = 0
    do while (characters(length + 1) /= c_null_char)
      length = length + 1
    end do
    allocate (character(len=length) :: text)
    do i = 1, length
      text(i:i) = characters(i)
    end do
  end function

  ! Stops the program unless a call has succeeded.
  subroutine check(status)
    integer(c_int32_t), intent(in) :: status
    if (status == ophis_ok) return
    print '(a)', text_at(ophis_status_name(status))//': '//text_at(ophis_last_error())
    error stop 1
  end subroutine
end module
