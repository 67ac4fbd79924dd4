"Diffusers pipelines of a few thousand random weights, saved as a user's would be"
import json
from pathlib import Path

def vocabulary(d):
    "A CLIP tokenizer that knows letters"
    from transformers import CLIPTokenizer
    letters = [chr(i) for i in range(33, 127)]
    words = [*letters, *(l+'</w>' for l in letters), '<|startoftext|>', '<|endoftext|>']
    d = Path(d); d.mkdir(parents=True, exist_ok=True)
    (d/'vocab.json').write_text(json.dumps({w: i for i,w in enumerate(words)})); (d/'merges.txt').write_text('#version: 0.2\n')
    return CLIPTokenizer(str(d/'vocab.json'), str(d/'merges.txt'), model_max_length=77),len(words)

def stills(d):
    "Text to image: Stable Diffusion's class"
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    torch.manual_seed(0)
    tok,n = vocabulary(Path(d)/'words')
    unet = UNet2DConditionModel(block_out_channels=(4, 8), layers_per_block=1, sample_size=32, norm_num_groups=2, in_channels=4, out_channels=4, cross_attention_dim=32,
        down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'), up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'), attention_head_dim=4)
    vae = AutoencoderKL(block_out_channels=(4, 8), in_channels=3, out_channels=3, norm_num_groups=2, latent_channels=4,
        down_block_types=('DownEncoderBlock2D',)*2, up_block_types=('UpDecoderBlock2D',)*2)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=2, vocab_size=n, bos_token_id=n-2, eos_token_id=n-1, pad_token_id=n-1, max_position_embeddings=77))
    p = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tok, unet=unet, scheduler=DDIMScheduler(clip_sample=False, steps_offset=1), safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False)
    p.save_pretrained(str(Path(d)/'model'))
    return Path(d)/'model'

def films(d):
    "Image to video: Stable Video Diffusion's class"
    import torch
    from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection
    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=8, out_channels=4, cross_attention_dim=32, num_attention_heads=8,
        down_block_types=('CrossAttnDownBlockSpatioTemporal', 'DownBlockSpatioTemporal'), up_block_types=('UpBlockSpatioTemporal', 'CrossAttnUpBlockSpatioTemporal'),
        projection_class_embeddings_input_dim=96, addition_time_embed_dim=32)
    vae = AutoencoderKLTemporalDecoder(block_out_channels=[32, 64], in_channels=3, out_channels=3, down_block_types=['DownEncoderBlock2D']*2, latent_channels=4)
    eye = CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=4, image_size=224, intermediate_size=37, patch_size=56))
    sched = EulerDiscreteScheduler(beta_schedule='scaled_linear', prediction_type='v_prediction', timestep_spacing='leading', timestep_type='continuous', use_karras_sigmas=True, sigma_min=.002, sigma_max=700., steps_offset=1)
    p = StableVideoDiffusionPipeline(vae=vae, image_encoder=eye, unet=unet, scheduler=sched, feature_extractor=CLIPImageProcessor())
    p.save_pretrained(str(Path(d)/'model'))
    return Path(d)/'model'

def style(model, path):
    "A LoRA for a model's U-Net, with weights that show"
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from diffusers.utils import convert_state_dict_to_diffusers
    p = StableDiffusionPipeline.from_pretrained(str(model))
    p.unet.add_adapter(LoraConfig(r=2, target_modules=['to_q', 'to_v'], init_lora_weights='gaussian'))
    for n,w in p.unet.named_parameters():
        if 'lora_B' in n: torch.nn.init.normal_(w, std=1.)
    StableDiffusionPipeline.save_lora_weights(str(Path(path).parent), unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(p.unet)), weight_name=Path(path).name)
    return path
