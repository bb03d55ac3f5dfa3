"""Which module of this folder has which ops. Made by `tools/make_op_index.py`; a test fails where it is stale."""

MODULES = {
    "accumulators": """
        AccumulatorApplyGradient AccumulatorNumAccumulated AccumulatorSetGlobalStep AccumulatorTakeGradient
        ConditionalAccumulator ResourceAccumulatorApplyGradient ResourceAccumulatorNumAccumulated
        ResourceAccumulatorSetGlobalStep ResourceAccumulatorTakeGradient ResourceConditionalAccumulator
        SparseAccumulatorApplyGradient SparseAccumulatorTakeGradient SparseConditionalAccumulator
    """,
    "activation": """
        BiasAdd BiasAddGrad BiasAddV1 Elu EluGrad LeakyRelu LeakyReluGrad Relu Relu6 Relu6Grad ReluGrad Selu SeluGrad
        Softplus SoftplusGrad Softsign SoftsignGrad
    """,
    "arithmetic": """
        AccumulateNV2 Add AddN AddV2 Atan2 ClipByValue Cross Div DivNoNan FloorDiv FloorMod LinSpace Maximum Minimum
        Mod Mul MulNoNan NextAfter Pow RealDiv SquaredDifference Sub TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
    """,
    "array": """
        CheckNumerics CheckNumericsV2 Copy CopyHost DebugIdentity DebugIdentityV2 DebugIdentityV3 DeepCopy Empty
        EnsureShape Fill GuaranteeConst Identity IdentityN NoOp OnesLike PlaceholderWithDefault PreventGradient Rank
        Shape ShapeN Size Snapshot StopGradient ZerosLike
    """,
    "audio": """
        AudioSpectrogram DecodeWav EncodeWav Mfcc
    """,
    "bessel": """
        BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0
        BesselY1 Dawsn Expint FresnelCos FresnelSin Spence
    """,
    "bitwise": """
        BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift PopulationCount RightShift
    """,
    "blocks": """
        BatchToSpace BatchToSpaceND DepthToSpace ExtractImagePatches ExtractVolumePatches SpaceToBatch SpaceToBatchND
        SpaceToDepth
    """,
    "cast": """
        Cast
    """,
    "checks": """
        Assert Print PrintV2
    """,
    "clustering": """
        KMC2ChainInitialization KmeansPlusPlusInitialization NearestNeighbors
    """,
    "comparison": """
        ApproximateEqual Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual
    """,
    "conv": """
        Conv Conv2D Conv3D DepthwiseConv2dNative
    """,
    "conv_grad": """
        Conv2DBackpropFilter Conv2DBackpropInput Conv3DBackpropFilter Conv3DBackpropFilterV2 Conv3DBackpropInput
        Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput
    """,
    "counting": """
        Bincount Bucketize DenseBincount DenseCountSparseOutput RaggedBincount RaggedCountSparseOutput SparseBincount
        SparseCountSparseOutput
    """,
    "ctc": """
        CTCLoss CTCLossV2 EditDistance
    """,
    "ctc_decoding": """
        CTCBeamSearchDecoder CTCGreedyDecoder
    """,
    "cudnn_rnn": """
        CudnnRNN CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize CudnnRNNParamsToCanonical
        CudnnRNNParamsToCanonicalV2 CudnnRNNV2 CudnnRNNV3
    """,
    "cumulative": """
        Cumprod Cumsum CumulativeLogsumexp
    """,
    "data_format": """
        DataFormatDimMap DataFormatVecPermute
    """,
    "debug": """
        Timestamp
    """,
    "decoding": """
        DecodeCSV DecodeCompressed DecodeJSONExample ParseTensor SerializeTensor
    """,
    "diagonal": """
        BatchMatrixBandPart BatchMatrixDiag BatchMatrixDiagPart BatchMatrixSetDiag Diag DiagPart MatrixBandPart
        MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
        MatrixSetDiagV2 MatrixSetDiagV3
    """,
    "dilation_grad": """
        Dilation2DBackpropFilter Dilation2DBackpropInput
    """,
    "einsum": """
        Einsum
    """,
    "embedding": """
        RaggedCross SparseCross SparseCrossHashed SparseCrossV2
    """,
    "files": """
        MatchingFiles ReadFile WriteFile
    """,
    "fractional_pool": """
        FractionalAvgPool FractionalAvgPoolGrad FractionalMaxPool FractionalMaxPoolGrad
    """,
    "fused": """
        FusedPadConv2D FusedResizeAndPadConv2D _FusedConv2D _FusedDepthwiseConv2dNative _FusedMatMul
    """,
    "gather": """
        Gather GatherNd GatherV2 ScatterNd ScatterNdNonAliasingAdd TensorScatterAdd TensorScatterMax TensorScatterMin
        TensorScatterSub TensorScatterUpdate
    """,
    "hashing": """
        Fingerprint StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
    """,
    "image": """
        AdjustContrastv2 AdjustHue AdjustSaturation HSVToRGB RGBToHSV
    """,
    "image_boxes": """
        CombinedNonMaxSuppression CropAndResize NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
        NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps
    """,
    "image_codec": """
        DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWebP EncodeJpeg
        EncodeJpegVariableQuality EncodePng ExtractJpegShape
    """,
    "image_color": """
        AdjustContrast
    """,
    "image_crop_grad": """
        CropAndResizeGradBoxes CropAndResizeGradImage
    """,
    "image_projection": """
        ImageProjectiveTransformV2 ImageProjectiveTransformV3
    """,
    "image_resize": """
        ResizeArea ResizeBicubic ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad
        ScaleAndTranslate
    """,
    "image_resize_grad": """
        ResizeBicubicGrad ScaleAndTranslateGrad
    """,
    "image_sampling": """
        DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse ExtractGlimpseV2 RandomCrop SampleDistortedBoundingBox
        SampleDistortedBoundingBoxV2 StatelessSampleDistortedBoundingBox
    """,
    "index_shuffle": """
        RandomIndexShuffle SobolSample UnravelIndex
    """,
    "inplace": """
        ConsumeMutexLock DestroyTemporaryVariable DeviceIndex FakeParam InplaceAdd InplaceSub InplaceUpdate MutexLock
        MutexV2 TensorStridedSliceUpdate
    """,
    "isotonic": """
        IsotonicRegression
    """,
    "joining": """
        Concat ConcatOffset ConcatV2 DynamicPartition DynamicStitch Pack ParallelConcat ParallelDynamicStitch
    """,
    "linalg": """
        BandedTriangularSolve BatchMatrixDeterminant BatchMatrixInverse BatchMatrixSolve BatchMatrixSolveLs
        BatchMatrixTriangularSolve LogMatrixDeterminant MatrixDeterminant MatrixInverse MatrixSolve MatrixSolveLs
        MatrixTriangularSolve TridiagonalMatMul TridiagonalSolve
    """,
    "linalg_decompositions": """
        BatchCholesky BatchCholeskyGrad BatchSelfAdjointEig BatchSelfAdjointEigV2 BatchSvd Cholesky CholeskyGrad Eig
        Lu MatrixExponential MatrixLogarithm MatrixSquareRoot Qr SelfAdjointEig SelfAdjointEigV2 Svd
    """,
    "lookup": """
        AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors
        HashTable HashTableV2 InitializeTable InitializeTableFromTextFile InitializeTableFromTextFileV2
        InitializeTableV2 LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImport
        LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize
        LookupTableSizeV2 MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors
        MutableHashTableOfTensorsV2 MutableHashTableV2
    """,
    "math": """
        Abs Acos Acosh Angle Asin Asinh Atan Atanh Ceil Complex ComplexAbs Conj Cos Cosh Exp Expm1 Floor Imag Inv
        IsFinite IsInf IsNan Log Log1p Neg Real Reciprocal Rint Round Rsqrt Sigmoid Sign Sin Sinh Sqrt Square Tan Tanh
    """,
    "math_gradients": """
        InvGrad ReciprocalGrad RsqrtGrad SigmoidGrad SqrtGrad TanhGrad
    """,
    "matmul": """
        BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul SparseMatMul
    """,
    "ngrams": """
        StringNGrams
    """,
    "normalization": """
        BatchNormWithGlobalNormalization BatchNormWithGlobalNormalizationGrad FusedBatchNorm FusedBatchNormGrad
        FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 LRN LRNGrad _FusedBatchNormEx
    """,
    "optional": """
        OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone
    """,
    "padding": """
        MirrorPad MirrorPadGrad Pad PadV2
    """,
    "parsing": """
        ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample
        ParseSingleSequenceExample
    """,
    "pool": """
        AvgPool AvgPool3D MaxPool MaxPool3D MaxPoolV2
    """,
    "pool_grad": """
        AvgPool3DGrad AvgPoolGrad Dilation2D MaxPool3DGrad MaxPoolGrad MaxPoolGradV2 MaxPoolGradWithArgmax
        MaxPoolWithArgmax
    """,
    "pool_grad_grad": """
        MaxPool3DGradGrad MaxPoolGradGrad MaxPoolGradGradV2
    """,
    "protos": """
        DecodeProtoV2 EncodeProto
    """,
    "quantization": """
        Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVars
        FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel FakeQuantWithMinMaxVarsPerChannelGradient
        QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
        QuantizeAndDequantizeV4Grad QuantizeV2
    """,
    "quantized": """
        QuantizeDownAndShrinkRange QuantizedAdd QuantizedAvgPool QuantizedBatchNormWithGlobalNormalization
        QuantizedBiasAdd QuantizedConcat QuantizedConcatV2 QuantizedInstanceNorm QuantizedMaxPool QuantizedMul
        QuantizedRelu QuantizedRelu6 QuantizedReshape QuantizedResizeBilinear RequantizationRange
        RequantizationRangePerChannel Requantize RequantizePerChannel
    """,
    "quantized_products": """
        QuantizedConv2D QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize QuantizedConv2DAndRequantize
        QuantizedConv2DPerChannel QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu
        QuantizedConv2DWithBiasAndReluAndRequantize QuantizedConv2DWithBiasAndRequantize QuantizedDepthwiseConv2D
        QuantizedDepthwiseConv2DWithBias QuantizedDepthwiseConv2DWithBiasAndRelu
        QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize QuantizedMatMul QuantizedMatMulWithBias
        QuantizedMatMulWithBiasAndDequantize QuantizedMatMulWithBiasAndRelu
        QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize
    """,
    "ragged": """
        RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
        RaggedTensorToVariant
    """,
    "ragged_rows": """
        RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedTensorToVariantGradient
    """,
    "random": """
        Multinomial ParameterizedTruncatedNormal RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle
        RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal
    """,
    "random_binomial": """
        StatefulRandomBinomial StatelessRandomBinomial
    """,
    "random_candidates": """
        AllCandidateSampler ComputeAccidentalHits FixedUnigramCandidateSampler LearnedUnigramCandidateSampler
        LogUniformCandidateSampler ThreadUnsafeUnigramCandidateSampler UniformCandidateSampler
    """,
    "random_generators": """
        NonDeterministicInts RngReadAndSkip RngSkip StatefulStandardNormal StatefulStandardNormalV2
        StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt
    """,
    "random_stateless": """
        StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomGammaV2 StatelessRandomGammaV3
        StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
        StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
        StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
        StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2
    """,
    "recurrent": """
        BlockLSTM BlockLSTMGrad BlockLSTMGradV2 BlockLSTMV2 GRUBlockCell GRUBlockCellGrad LSTMBlockCell
        LSTMBlockCellGrad
    """,
    "reduction": """
        All Any ArgMax ArgMin EuclideanNorm Max Mean Min Prod Sum
    """,
    "regex": """
        RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace
    """,
    "reorder": """
        Reverse ReverseSequence ReverseV2 Roll
    """,
    "segment": """
        SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum SparseSegmentMean SparseSegmentMeanGrad
        SparseSegmentMeanGradV2 SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNGrad
        SparseSegmentSqrtNGradV2 SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumGrad
        SparseSegmentSumGradV2 SparseSegmentSumWithNumSegments UnsortedSegmentMax UnsortedSegmentMin
        UnsortedSegmentProd UnsortedSegmentSum
    """,
    "selection": """
        HistogramFixedWidth OneHot Range Select SelectV2 SparseToDense Where
    """,
    "sets": """
        DenseToDenseSetOperation DenseToSparseSetOperation SetSize SparseToSparseSetOperation
    """,
    "shape": """
        Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo ConjugateTranspose ExpandDims InvertPermutation
        Reshape Squeeze Tile TileGrad Transpose
    """,
    "signal": """
        BatchFFT BatchFFT2D BatchFFT3D BatchIFFT BatchIFFT2D BatchIFFT3D FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT
        IRFFT2D IRFFT3D RFFT RFFT2D RFFT3D
    """,
    "slicing": """
        Slice Split SplitV StridedSlice StridedSliceGrad Unpack
    """,
    "softmax": """
        L2Loss LogSoftmax Softmax SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits
    """,
    "sorting": """
        ApproxTopK InTopK InTopKV2 ListDiff LowerBound NthElement TopK TopKV2 Unique UniqueV2 UniqueWithCounts
        UniqueWithCountsV2 UpperBound
    """,
    "sparse": """
        DeserializeManySparse DeserializeSparse SerializeManySparse SerializeSparse SparseConcat SparseFillEmptyRows
        SparseFillEmptyRowsGrad SparseReorder SparseReshape SparseSlice SparseSliceGrad SparseSplit
    """,
    "sparse_maps": """
        AddManySparseToTensorsMap AddSparseToTensorsMap TakeManySparseFromTensorsMap
    """,
    "sparse_math": """
        SparseAdd SparseAddGrad SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul SparseReduceMax
        SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse SparseSoftmax SparseSparseMaximum
        SparseSparseMinimum SparseTensorDenseAdd SparseTensorDenseMatMul
    """,
    "special": """
        Betainc Digamma Erf Erfc Erfinv Igamma IgammaGradA Igammac Lgamma Ndtri Polygamma RandomGammaGrad Zeta
    """,
    "stack": """
        Stack StackClose StackCloseV2 StackPop StackPopV2 StackPush StackPushV2 StackV2
    """,
    "state": """
        Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp DestroyResourceOp
        DisableCopyOnRead IsVariableInitialized MergeV2Checkpoints ReadVariableOp RefIdentity Restore RestoreSlice
        RestoreV2 Save SaveSlices SaveV2 VarIsInitializedOp VariableShape
    """,
    "state_updates": """
        CountUpTo ResourceCountUpTo ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterDiv
        ResourceScatterMax ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax
        ResourceScatterNdMin ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate
        ResourceStridedSliceAssign ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd ScatterNdMax
        ScatterNdMin ScatterNdSub ScatterNdUpdate ScatterSub ScatterUpdate StridedSliceAssign
    """,
    "string_numbers": """
        AsString DecodePaddedRaw DecodeRaw StringFormat StringToNumber
    """,
    "strings": """
        DecodeBase64 EncodeBase64 ReduceJoin ShardedFilename ShardedFilespec StringJoin StringLength StringLower
        StringSplit StringSplitV2 StringStrip StringUpper Substr UnsortedSegmentJoin
    """,
    "summary": """
        AudioSummary AudioSummaryV2 HistogramSummary ImageSummary MergeSummary ScalarSummary TensorSummary
        TensorSummaryV2
    """,
    "tensor_array": """
        TensorArray TensorArrayClose TensorArrayCloseV2 TensorArrayCloseV3 TensorArrayConcat TensorArrayConcatV2
        TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2 TensorArrayGatherV3 TensorArrayGrad
        TensorArrayGradV2 TensorArrayGradV3 TensorArrayGradWithShape TensorArrayPack TensorArrayRead TensorArrayReadV2
        TensorArrayReadV3 TensorArrayScatter TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySize
        TensorArraySizeV2 TensorArraySizeV3 TensorArraySplit TensorArraySplitV2 TensorArraySplitV3 TensorArrayUnpack
        TensorArrayV2 TensorArrayV3 TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3
    """,
    "tensor_list": """
        EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
        TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
        TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList
        TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
    """,
    "tensor_map": """
        EmptyTensorMap TensorMapErase TensorMapHasKey TensorMapInsert TensorMapLookup TensorMapSize TensorMapStackKeys
    """,
    "training": """
        ApplyAdaMax ApplyAdadelta ApplyAdagrad ApplyAdagradV2 ApplyAdam ApplyAddSign ApplyCenteredRMSProp
        ApplyGradientDescent ApplyMomentum ApplyPowerSign ApplyRMSProp ResourceApplyAdaMax ResourceApplyAdadelta
        ResourceApplyAdagrad ResourceApplyAdagradV2 ResourceApplyAdam ResourceApplyAdamWithAmsgrad
        ResourceApplyAddSign ResourceApplyCenteredRMSProp ResourceApplyGradientDescent ResourceApplyKerasMomentum
        ResourceApplyMomentum ResourceApplyPowerSign ResourceApplyRMSProp ResourceSparseApplyAdadelta
        ResourceSparseApplyAdagrad ResourceSparseApplyAdagradV2 ResourceSparseApplyCenteredRMSProp
        ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum ResourceSparseApplyRMSProp SparseApplyAdadelta
        SparseApplyAdagrad SparseApplyAdagradV2 SparseApplyCenteredRMSProp SparseApplyMomentum SparseApplyRMSProp
    """,
    "training_regularized": """
        ApplyAdagradDA ApplyFtrl ApplyFtrlV2 ApplyProximalAdagrad ApplyProximalGradientDescent ResourceApplyAdagradDA
        ResourceApplyFtrl ResourceApplyFtrlV2 ResourceApplyProximalAdagrad ResourceApplyProximalGradientDescent
        ResourceSparseApplyAdagradDA ResourceSparseApplyFtrl ResourceSparseApplyFtrlV2
        ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent SparseApplyAdagradDA
        SparseApplyFtrl SparseApplyFtrlV2 SparseApplyProximalAdagrad SparseApplyProximalGradientDescent
    """,
    "unicode": """
        UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode
    """,
}
