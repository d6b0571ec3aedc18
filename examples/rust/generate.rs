// Loads a model, prints its most probable next token after a text, and continues the text: generate FOLDER [PROMPT [NEW_TOKENS]]
//
// rustc -L native=DIR -l ophis generate.rs, with DIR the folder of libophis.so; no crate is needed.
use std::env;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::mem::size_of;
use std::os::raw::{c_char, c_void};
use std::process::exit;
use std::ptr;

/// The part of ophis.h that the example uses.
mod ffi {
    use std::os::raw::{c_char, c_void};

    #[repr(C)]
    pub struct Opaque {
        private: [u8; 0],
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Device {
        pub device_type: i32,
        pub device_id: i32,
    }
    pub const CPU: Device = Device { device_type: 1, device_id: 0 };

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct DType {
        pub code: u8,
        pub bits: u8,
        pub lanes: u16,
    }
    pub const FLOAT32: DType = DType { code: 2, bits: 32, lanes: 1 };
    pub const INT32: DType = DType { code: 0, bits: 32, lanes: 1 };

    #[repr(C)]
    pub struct Tensor {
        pub data: *const c_void,
        pub device: Device,
        pub ndim: i32,
        pub dtype: DType,
        pub shape: *const i64,
        pub strides: *const i64,
        pub byte_offset: u64,
    }
    #[repr(C)]
    pub struct ForwardArgs {
        pub size: usize,
        pub input_ids: *const Tensor,
        pub inputs_embeds: *const Tensor,
        pub attention_mask: *const Tensor,
        pub labels: *const Tensor,
        pub cache: *mut Opaque,
        pub logits_to_keep: i64,
    }

    #[repr(C)]
    pub struct LoadOptions {
        pub size: usize,
        pub device: Device,
        pub dtype: DType,
        pub progress: Option<extern "C" fn(*mut c_void, u64, u64) -> i32>,
        pub user_data: *mut c_void,
    }
    #[repr(C)]
    pub struct GenerationOptions {
        pub size: usize,
        pub max_new_tokens: i64,
        pub eos_token_ids: *const i64,
        pub num_eos_token_ids: i64,
        pub ignore_eos: i32,
        pub on_token: Option<extern "C" fn(*mut c_void, i64, i32) -> i32>,
        pub user_data: *mut c_void,
    }

    extern "C" {
        pub fn ophis_status_name(status: i32) -> *const c_char;
        pub fn ophis_last_error() -> *const c_char;
        pub fn ophis_free(memory: *mut c_void);
        pub fn ophis_context_create(device: Device, native_stream: *mut c_void, context: *mut *mut Opaque) -> i32;
        pub fn ophis_context_destroy(context: *mut Opaque);
        pub fn ophis_load_options_init(options: *mut LoadOptions, size: usize) -> i32;
        pub fn ophis_model_load(folder: *const c_char, options: *const LoadOptions, model: *mut *mut Opaque) -> i32;
        pub fn ophis_model_destroy(model: *mut Opaque);
        pub fn ophis_tokenizer_load(path: *const c_char, tokenizer: *mut *mut Opaque) -> i32;
        pub fn ophis_tokenizer_destroy(tokenizer: *mut Opaque);
        pub fn ophis_tokenizer_encode(
            tokenizer: *const Opaque,
            text: *const c_char,
            text_bytes: usize,
            add_special_tokens: i32,
            ids: *mut *mut i32,
            num_ids: *mut i64,
        ) -> i32;
        pub fn ophis_stream_decoder_create(tokenizer: *const Opaque, skip_special: i32, decoder: *mut *mut Opaque) -> i32;
        pub fn ophis_stream_decoder_destroy(decoder: *mut Opaque);
        pub fn ophis_stream_decoder_push(decoder: *mut Opaque, id: i32, text: *mut *mut c_char) -> i32;
        pub fn ophis_stream_decoder_flush(decoder: *mut Opaque, text: *mut *mut c_char) -> i32;
        pub fn ophis_forward_args_init(args: *mut ForwardArgs, size: usize) -> i32;
        pub fn ophis_model_forward(
            model: *const Opaque,
            context: *mut Opaque,
            args: *const ForwardArgs,
            output: *mut *mut Opaque,
        ) -> i32;
        pub fn ophis_output_logits(output: *const Opaque, logits: *mut *const Tensor) -> i32;
        pub fn ophis_output_destroy(output: *mut Opaque);
        pub fn ophis_generation_options_init(options: *mut GenerationOptions, size: usize) -> i32;
        pub fn ophis_generate(
            model: *const Opaque,
            context: *mut Opaque,
            prompts: *const *const i32,
            prompt_lengths: *const i64,
            num_prompts: i64,
            options: *const GenerationOptions,
            ids: *mut i32,
            num_ids: *mut i64,
            stats: *mut c_void,
        ) -> i32;
    }
}

fn text_at(pointer: *const c_char) -> String {
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn check(status: i32) {
    if status != 0 {
        let (name, text) = unsafe { (ffi::ophis_status_name(status), ffi::ophis_last_error()) };
        eprintln!("{}: {}", text_at(name), text_at(text));
        exit(1);
    }
}

/// The handle that a function writes.
fn handle(create: impl FnOnce(*mut *mut ffi::Opaque) -> i32) -> *mut ffi::Opaque {
    let mut result = ptr::null_mut();
    check(create(&mut result));
    result
}

/// Prints the text that a function of the decoder writes.
fn print_text(decode: impl FnOnce(*mut *mut c_char) -> i32) {
    let mut text = ptr::null_mut();
    check(decode(&mut text));
    print!("{}", text_at(text));
    std::io::stdout().flush().expect("stdout takes text");
    unsafe { ffi::ophis_free(text.cast()) };
}

extern "C" fn print_token(decoder: *mut c_void, _sequence: i64, id: i32) -> i32 {
    print_text(|text| unsafe { ffi::ophis_stream_decoder_push(decoder.cast(), id, text) });
    1 // go on
}

fn encode(tokenizer: *const ffi::Opaque, text: &str) -> Vec<i32> {
    let (mut ids, mut count) = (ptr::null_mut(), 0);
    unsafe {
        check(ffi::ophis_tokenizer_encode(tokenizer, text.as_ptr().cast(), text.len(), 1, &mut ids, &mut count));
        let result = std::slice::from_raw_parts(ids, count as usize).to_vec();
        ffi::ophis_free(ids.cast());
        result
    }
}

/// Prints the most probable token after the ids and its logit.
unsafe fn print_next(model: *const ffi::Opaque, context: *mut ffi::Opaque, ids: &[i32]) {
    let shape = [1, ids.len() as i64];
    let input = ffi::Tensor {
        data: ids.as_ptr().cast(),
        device: ffi::CPU,
        ndim: 2,
        dtype: ffi::INT32,
        shape: shape.as_ptr(),
        strides: ptr::null(),
        byte_offset: 0,
    };
    let mut args: ffi::ForwardArgs = std::mem::zeroed();
    check(ffi::ophis_forward_args_init(&mut args, size_of::<ffi::ForwardArgs>()));
    args.input_ids = &input;
    args.logits_to_keep = 1;
    let output = handle(|result| ffi::ophis_model_forward(model, context, &args, result));
    let mut logits = ptr::null();
    check(ffi::ophis_output_logits(output, &mut logits)); // (1, 1, vocab_size) float32
    let vocab_size = *(*logits).shape.add(2) as usize;
    let values = std::slice::from_raw_parts((*logits).data.cast::<f32>(), vocab_size);
    let best = (0..vocab_size).fold(0, |best, id| if values[id] > values[best] { id } else { best });
    println!("most probable next: {} ({:.4})", best, values[best]);
    ffi::ophis_output_destroy(output);
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let argument = |i: usize, otherwise: &str| arguments.get(i).cloned().unwrap_or(otherwise.to_string());
    let folder = CString::new(argument(1, "examples/models/mamba2-tiny")).expect("a path has no zero");
    let prompt = argument(2, "JULIET:");
    let new_tokens: i64 = argument(3, "60").parse().expect("NEW_TOKENS is a number");

    unsafe {
        let mut load: ffi::LoadOptions = std::mem::zeroed();
        check(ffi::ophis_load_options_init(&mut load, size_of::<ffi::LoadOptions>()));
        load.dtype = ffi::FLOAT32;
        let context = handle(|result| ffi::ophis_context_create(ffi::CPU, ptr::null_mut(), result));
        let model = handle(|result| ffi::ophis_model_load(folder.as_ptr(), &load, result));
        let tokenizer = handle(|result| ffi::ophis_tokenizer_load(folder.as_ptr(), result));
        let decoder = handle(|result| ffi::ophis_stream_decoder_create(tokenizer, 1, result));

        let mut options: ffi::GenerationOptions = std::mem::zeroed();
        check(ffi::ophis_generation_options_init(&mut options, size_of::<ffi::GenerationOptions>()));
        options.max_new_tokens = new_tokens;
        options.on_token = Some(print_token);
        options.user_data = decoder.cast();

        let prompt_ids = encode(tokenizer, &prompt);
        print_next(model, context, &prompt_ids);
        for &id in &prompt_ids {
            print_token(decoder.cast(), 0, id);
        }
        let (prompts, lengths) = ([prompt_ids.as_ptr()], [prompt_ids.len() as i64]);
        let (mut ids, mut count) = (vec![0; new_tokens as usize], [0]);
        check(ffi::ophis_generate(
            model,
            context,
            prompts.as_ptr(),
            lengths.as_ptr(),
            1,
            &options,
            ids.as_mut_ptr(),
            count.as_mut_ptr(),
            ptr::null_mut(),
        ));
        print_text(|text| ffi::ophis_stream_decoder_flush(decoder, text));
        println!();

        ffi::ophis_stream_decoder_destroy(decoder);
        ffi::ophis_tokenizer_destroy(tokenizer);
        ffi::ophis_model_destroy(model);
        ffi::ophis_context_destroy(context);
    }
}
